"""Server-sent events: the grammar of the WHATWG standard, and every byte given back."""

from __future__ import annotations

import pytest

from ai_client.errors import BrokenReplyError
from ai_client.transport.sse import DONE, Event, EventParser


def parse(*chunks: bytes) -> list[Event]:
    parser = EventParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    events += parser.finish()
    assert parser.pending == b""
    return events


def payloads(*chunks: bytes) -> list[bytes]:
    return [event.data for event in parse(*chunks) if event.kind == "event"]


def test_a_chunk_that_is_one_event() -> None:
    chunk = b'data: {"a":1}\n\n'
    assert parse(chunk, b"data: [DONE]\n\n") == [
        Event(b'{"a":1}', b"", chunk),
        Event(DONE, b"", b"data: [DONE]\n\n"),
    ]


def test_several_events_in_one_chunk_and_one_in_several() -> None:
    assert payloads(b"data: a\n\ndata: b\n\n") == [b"a", b"b"]
    assert payloads(b"da", b"ta:", b" a", b"\n", b"\n") == [b"a"]
    assert payloads(b"data: a\n\nda", b"ta: b\n\n") == [b"a", b"b"]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_all_three_line_ends(end: bytes) -> None:
    stream = end.join([b"event: add", b"data: 1", b"data: 2", b"", b"data: 3", b"", b""])
    first, second = parse(stream)
    assert (first.event, first.data) == (b"add", b"1\n2")
    assert (second.event, second.data) == (b"", b"3")
    assert first.raw + second.raw == stream


def test_line_ends_may_be_mixed_within_a_stream() -> None:
    assert payloads(b"data: 1\r\ndata: 2\rdata: 3\n\rdata: 4\r\r\n") == [b"1\n2\n3", b"4"]


def test_a_crlf_cut_in_two_stays_with_its_event() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r\n\r") == []
    (event,) = parser.feed(b"\ndata: b")
    assert event.raw == b"data: a\r\n\r\n"
    assert parser.pending == b"data: b"


def test_an_event_that_ends_in_a_bare_cr_is_released_at_the_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\r\r") == []
    assert parser.pending == b"data: a\r\r"
    assert [event.raw for event in parser.finish()] == [b"data: a\r\r"]
    assert parser.pending == b""


def test_the_examples_of_the_standard() -> None:
    assert payloads(b"data: YHOO\ndata: +2\ndata: 10\n\n") == [b"YHOO\n+2\n10"]
    ids = [event.id for event in parse(b": test\n\ndata: 1\nid: 1\n\ndata:2\nid\n\ndata:  3\n\n")]
    assert ids == [b"", b"1", b"", b""]
    assert payloads(b"data\n\ndata\ndata\n\ndata:\n\n") == [b"", b"\n", b""]
    assert payloads(b"data:test\n\ndata: test\n\n") == [b"test", b"test"]


def test_a_field_name_is_taken_whole_and_one_space_is_dropped() -> None:
    assert payloads(b"data:  two\n\nDATA: no\ndatas: no\n data: no\ndata: a: b\n\n") == [b" two", b"a: b"]


def test_comments_and_empty_lines_are_given_back_as_silence() -> None:
    stream = b": keep-alive\n\n\ndata: a\n\nevent: ping\n\n"
    events = parse(stream)
    assert [event.kind for event in events] == ["silent", "silent", "event", "silent"]
    assert b"".join(event.raw for event in events) == stream
    assert events[3].event == b"ping"


def test_the_last_id_stays_and_one_with_a_nul_is_ignored() -> None:
    assert [event.id for event in parse(b"id: 7\ndata: a\n\n", b"data: b\n\n", b"id: x\0\ndata: c\n\n")] == [b"7"] * 3


def test_retry_takes_digits_only() -> None:
    stream = b"retry: 250\ndata: a\n\nretry: soon\ndata: b\n\nretry: " + b"9" * 5000 + b"\ndata: c\n\n"
    assert [event.retry for event in parse(stream)] == [250, -1, -1]


@pytest.mark.parametrize(
    "chunks",
    [
        (b"\xef\xbb\xbfdata: a\n\n",),
        (b"\xef", b"\xbb\xbfda", b"ta: a", b"\n\n"),
        (b"\xef\xbb", b"\xbf", b"data: a\n\n"),
    ],
)
def test_a_byte_order_mark_is_skipped_once(chunks: tuple[bytes, ...]) -> None:
    (event,) = parse(*chunks)
    assert event.data == b"a"
    assert event.raw == b"".join(chunks)
    assert payloads(b"data: a\n\n", b"\xef\xbb\xbfdata: b\n\n") == [b"a"]


def test_a_byte_order_mark_before_an_empty_line_or_a_bare_cr() -> None:
    assert [event.raw for event in parse(b"\xef\xbb\xbf\n", b"data: a\n\n")] == [b"\xef\xbb\xbf\n", b"data: a\n\n"]
    assert [event.raw for event in parse(b"\xef\xbb\xbf", b"\r")] == [b"\xef\xbb\xbf\r"]


@pytest.mark.parametrize("rest", [b"data: a", b"data: a\n", b"data: a\r", b"d", b"\xef\xbb", b": note\r\n"])
def test_what_is_cut_off_stays_pending(rest: bytes) -> None:
    parser = EventParser()
    assert parser.feed(rest) == []
    assert parser.finish() == []
    assert parser.pending == rest


def test_an_empty_chunk_is_nothing() -> None:
    assert parse(b"", b"data: a\n\n", b"") == [Event(b"a", b"", b"data: a\n\n")]


def test_an_event_is_bounded_whole_or_in_pieces() -> None:
    exact = b"data: 12345678\n\n"
    assert len(EventParser(len(exact)).feed(exact)) == 1
    with pytest.raises(BrokenReplyError, match="longer than 15 bytes"):
        EventParser(len(exact) - 1).feed(exact)
    parser = EventParser(len(exact) - 1)
    assert parser.feed(exact[:-2]) == []
    with pytest.raises(BrokenReplyError):
        parser.feed(exact[-2:])
    with pytest.raises(BrokenReplyError):
        EventParser(8).feed(b"data: 123456789")


@pytest.mark.parametrize(
    "long", [b"data: 123456789012345\n\n", b"data: 123456789012345", b"data: 123456789012345\n\ndata: b\n\n"]
)
def test_what_came_in_front_of_an_event_that_is_too_long_is_returned_first(long: bytes) -> None:
    parser = EventParser(15)
    assert [event.data for event in parser.feed(b"data: 1\n\ndata: 2\n\n" + long)] == [b"1", b"2"]
    assert parser.failure is not None
    for more in (b"", b"data: c\n\n"):
        with pytest.raises(BrokenReplyError, match="longer than 15 bytes"):
            parser.feed(more)
    with pytest.raises(BrokenReplyError, match="longer than 15 bytes"):
        parser.finish()
