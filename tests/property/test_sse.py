"""Server-sent events: where the chunks are cut never matters, and no byte is lost."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from ai_client.transport.sse import Event, EventParser

FIELDS = [b"data: ", b"data", b"event: add", b"id: 1", b"retry: 10", b":", b" ", b"x", b'{"a":1}', b"\0"]
LINE_ENDS = [b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"]
OTHERS = [b"\xef\xbb\xbf", b"\xef", b"data: {}\n\n", b"data: [DONE]\n\n"]
PIECES = st.sampled_from(FIELDS + LINE_ENDS + OTHERS)
STREAMS = st.lists(PIECES, max_size=20).map(b"".join)


def feed(chunks: list[bytes]) -> tuple[list[Event], bytes]:
    parser = EventParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    events += parser.finish()
    return events, parser.pending


@given(STREAMS, st.data())
@example(b"data: a\r\n\r\ndata: b\r\r", None)
def test_every_split_yields_the_same_events(stream: bytes, data: st.DataObject | None) -> None:
    whole = feed([stream])
    assert feed([bytes([byte]) for byte in stream]) == whole
    if data is not None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        assert feed([stream[a:b] for a, b in pairwise([0, *cuts, len(stream)])]) == whole


@given(STREAMS)
def test_the_raw_bytes_are_the_stream(stream: bytes) -> None:
    events, pending = feed([stream])
    assert b"".join(event.raw for event in events) + pending == stream


@given(STREAMS)
def test_it_agrees_with_the_standard_read_line_by_line(stream: bytes) -> None:
    """A second implementation: the standard's own algorithm over the whole stream, no speed and no chunks in mind."""
    text = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    dispatched: list[tuple[bytes, bytes]] = []
    data, name = b"", b""
    for line in text.split(b"\n")[:-1]:
        if not line:
            if data:
                dispatched.append((name, data[:-1]))
            data, name = b"", b""
        elif line.startswith(b"data:") or line == b"data":
            data += line[5:].removeprefix(b" ") + b"\n"
        elif line.startswith(b"event:"):
            name = line[6:].removeprefix(b" ")
    events, _ = feed([stream])
    assert [(event.event, event.data) for event in events if event.kind == "event"] == dispatched
