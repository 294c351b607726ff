"""Two answers that read as one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import BrokenReplyError
from ai_client.model.usage import NO_USAGE, Usage
from ai_client.pipeline.seam import Seam
from ai_client.transport.sse import EventParser
from tests.unit.providers.openai.feed import DONE, STOP, USAGE, chunk, event

FIRST = event({"id": "first", "created": 5, "object": "o", "model": "m-1", "choices": []})
ROLE = event({"id": "2", "created": 9, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})


def seam(said: str = "The an", repeated: str = "", spent: Usage = NO_USAGE, *, exact: bool = False) -> Seam:
    made = Seam(b": hello\n\n" + FIRST, said)
    made.begin(repeated, spent, exact=exact)
    return made


def said(made: Seam) -> str | None:
    return made.said


def read(data: bytes) -> list[Any]:
    return [msgspec.json.decode(each.data) for each in EventParser().feed(data) if each.data]


def text_of(data: bytes) -> str:
    return "".join(each["choices"][0]["delta"].get("content", "") for each in read(data))


def test_it_has_the_firsts_id_and_its_own_model() -> None:
    (only,) = read(seam().take(event({"id": "2", "model": "m-2", "choices": [{"delta": {"content": "swer"}}]})))
    assert only == {"id": "first", "model": "m-2", "choices": [{"delta": {"content": "swer"}}]}
    (only,) = read(seam().take(chunk("a", created=9, object="x", system_fingerprint="f")))
    assert (only["created"], only["object"], only["system_fingerprint"]) == (5, "o", "f")


def test_it_begins_once() -> None:
    made = seam()
    assert made.take(ROLE) == b""
    both = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": "swer"}}]})
    (only,) = read(made.take(both))
    assert only["choices"] == [{"index": 0, "delta": {"content": "swer"}}]
    assert made.said == "The answer"


def test_what_is_no_chunk_passes() -> None:
    made = seam()
    assert made.take(b": still here\n\n") == b": still here\n\n"
    assert made.take(DONE) == DONE


def test_a_text_that_has_its_end_is_taken_up_by_nobody() -> None:
    made = seam()
    made.take(chunk("swer"))
    assert made.said == "The answer"
    assert read(made.take(STOP))[0]["choices"][0]["finish_reason"] == "stop"
    made.take(chunk("more"))
    assert said(made) is None


@pytest.mark.parametrize("delta", [{"tool_calls": [{"index": 0}]}, {"reasoning_content": "hm"}, {"refusal": "no"}])
def test_nor_is_what_is_more_than_text(delta: dict[str, Any]) -> None:
    made = seam()
    (only,) = read(made.take(event({"choices": [{"index": 0, "delta": delta}]})))
    assert only["choices"][0]["delta"] == delta
    assert made.said is None


def test_empty_members_are_nothing() -> None:
    made = seam()
    empty: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [], "refusal": None}
    assert made.take(event({"choices": [{"index": 0, "delta": empty, "finish_reason": ""}], "usage": None})) == b""
    assert made.take(event({"choices": [{"index": 0}]})) == b""
    assert made.take(event({"id": "x"})) == b""
    assert made.said == "The an"


@pytest.mark.parametrize(
    ("repeated", "pieces", "text"),
    [
        (" ", (" swer",), "swer"),
        (" \n", (" ", "\n", "next"), "next"),
        (" \n", (" next",), "next"),
        (" ", ("swer", " end"), "swer end"),
        ("\n\n", ("\n", "a", "\n"), "a\n"),
    ],
)
def test_white_space_that_the_caller_has_already(repeated: str, pieces: tuple[str, ...], text: str) -> None:
    made = seam("a", repeated)
    assert text_of(b"".join(made.take(chunk(piece)) for piece in pieces)) == text
    assert made.said == f"a{text}"


def test_a_model_that_repeats_the_beginning() -> None:
    made = seam("The an", "The an", exact=True)
    assert text_of(b"".join(made.take(chunk(piece)) for piece in ("The", " answer", " is"))) == "swer is"
    with pytest.raises(BrokenReplyError, match="did not begin with that one's text"):
        seam("The an", "The an", exact=True).take(chunk("The") + chunk(" end"))


def test_the_next_part_begins_anew() -> None:
    made = seam()
    made.take(chunk("swer")[:-1])
    made.begin("", NO_USAGE, exact=False)
    assert text_of(made.take(chunk("s"))) == "s"
    assert made.said == "The ans"


def test_the_count_is_of_all_parts() -> None:
    made = seam(spent=Usage(100, 20, estimated=True))
    (only,) = read(made.take(USAGE))
    assert only["usage"] == {"prompt_tokens": 109, "completion_tokens": 22, "total_tokens": 131, "estimated": True}
    more = event({"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": 2, "cost": 1.5}})
    (only,) = read(made.take(more))
    counts = {"prompt_tokens": 100, "completion_tokens": 22, "total_tokens": 122}
    assert only["usage"] == {**counts, "cost": 1.5, "estimated": True}
    (only,) = read(seam(spent=Usage(100, 20)).take(USAGE))
    assert "estimated" not in only["usage"]


@pytest.mark.parametrize(
    "odd", [b"[]", b"{", {"choices": 5}, {"choices": [5]}, {"choices": [{"delta": 5}]}, {"usage": 5}]
)
def test_an_event_of_another_shape(odd: Any) -> None:
    made = seam()
    with pytest.raises(BrokenReplyError, match="of another shape"):
        made.take(chunk("swer") + event(odd))
    assert made.said is None, "the caller got nothing of that piece"


@pytest.mark.parametrize("first", [b"", b": hello\n\n", DONE])
def test_a_first_part_that_said_no_id(first: bytes) -> None:
    made = Seam(first, "")
    made.begin("", NO_USAGE, exact=False)
    assert read(made.take(chunk("a")))[0]["id"] == "1"
