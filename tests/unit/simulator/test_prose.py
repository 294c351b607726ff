"""Filler that needs no escaping, in pieces of about four characters."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ai_client.simulator.prose import Prose

PROSE = Prose()


@given(st.integers(0, 2**64 - 1), st.integers(0, 3_000))
def test_text_and_pieces_agree(draw: int, count: int) -> None:
    pieces = PROSE.pieces(draw, count)
    assert len(pieces) == count
    assert b"".join(pieces) == PROSE.text(draw, count)


def test_a_reply_longer_than_the_ring_goes_round() -> None:
    assert len(PROSE.pieces(699, 40_000)) == 40_000
    assert PROSE.text(699, 40_000) == b"".join(PROSE.pieces(699, 40_000))


def test_it_reads_like_prose_and_goes_into_json_as_it_is() -> None:
    text = PROSE.text(5, 2_000)
    assert msgspec.json.decode(b'"' + text + b'"') == text.decode()
    assert text[:1].isupper()
    assert b"  " not in text
    assert text.count(b".") > 50


def test_a_token_is_about_four_characters() -> None:
    assert 3.5 < len(PROSE.text(0, 8_000)) / 8_000 < 5


def test_it_is_the_same_in_every_process() -> None:
    assert Prose().text(3, 50) == PROSE.text(3, 50)
    assert PROSE.text(3, 50) != PROSE.text(4, 50)
