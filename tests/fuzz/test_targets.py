"""Every file of the corpus, what once broke a parser among them, keeps its target's promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ai_client.transport.request_reader import RequestReader
from ai_client.transport.sse import EventParser
from fuzz.targets import TARGETS

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_of_the_corpus(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


def test_every_target_has_seeds_and_is_fuzzed_by_make() -> None:
    assert {path.parent.name for path in FILES} == set(TARGETS)
    makefile = (ROOT / "Makefile").read_text()
    (line,) = re.findall(r"^FUZZED := (.*)$", makefile, re.MULTILINE)
    assert line.split() == list(TARGETS)
    assert {path.stem for path in (ROOT / "fuzz").glob("*.dict")} <= set(TARGETS)


def test_a_reader_that_minds_the_cuts_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = RequestReader.feed

    def careless(reader: RequestReader, data: bytes) -> None:
        if data != b"\r":
            feed(reader, data)

    monkeypatch.setattr(RequestReader, "feed", careless)
    with pytest.raises(AssertionError):
        TARGETS["requests"]((CORPUS / "requests" / "post").read_bytes())


def test_a_parser_that_loses_bytes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = EventParser.feed
    monkeypatch.setattr(EventParser, "feed", lambda parser, data: feed(parser, data.replace(b"\r", b"")))
    with pytest.raises(AssertionError):
        TARGETS["events"]((CORPUS / "events" / "crlf").read_bytes())
