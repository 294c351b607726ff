"""Server-sent events, parsed as they arrive, whatever the boundaries of the chunks.

The grammar is that of the WHATWG HTML standard, section 9.2.6: lines end in LF, CR or CRLF, an empty line ends an
event, a leading byte order mark is dropped, a line that begins with a colon is a comment. Unlike a browser, this
parser also gives back every byte it was fed (`Event.raw`), so that a proxy can forward a stream byte for byte.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from ai_client.errors import BrokenReplyError

DONE: Final = b"[DONE]"
"""The data of the event that ends OpenAI's streams."""

DEFAULT_MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

_BOM: Final = b"\xef\xbb\xbf"
# A CR ends a line only once the byte after it is known not to be LF: otherwise a CRLF cut in two by a chunk boundary
# would leave its LF in front of the next event.
_LINE_END: Final = re.compile(rb"\n|\r\n|\r(?=[^\n])")
_EMPTY_LINE: Final = re.compile(rb"(?:\n|\r\n|\r(?=[^\n]))(?:\n|\r\n|\r(?=[^\n]))")
_ANY_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_LONGEST_EMPTY_LINE: Final = 4  # bytes: CR LF CR LF
_LF: Final = ord("\n")
_MOST_DIGITS: Final = 18  # of a reconnection time: keeps it in 64 bits


class Event(msgspec.Struct, gc=False):
    """One event, or the bytes between two.

    `data` is the event's payload, its lines joined by LF. `event` is its type, empty when the stream named none.
    `id` is the stream's last event id so far. `retry` is the reconnection time in milliseconds that this event
    asked for, -1 when it asked for none. `raw` is exactly what came over the wire, terminator included.
    `kind` is `silent` where a browser would dispatch nothing: comments (keep-alives), stray empty lines, fields
    without data. `data` is then empty, and only `raw` matters.
    """

    data: bytes
    event: bytes = b""
    raw: bytes = b""
    kind: Literal["event", "silent"] = "event"
    id: bytes = b""
    retry: int = -1


class EventParser:
    """Bytes in, events out. One parser for each stream; it holds at most one unfinished event."""

    __slots__ = ("_buffer", "_id", "_max", "_scanned", "_started", "failure")

    def __init__(self, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        """`max_event_bytes` bounds one event, terminator included."""
        self._max = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0  # no empty line begins before this offset of the buffer
        self._started = False  # the place where a byte order mark may stand is behind us
        self._id = b""
        self.failure: BrokenReplyError | None = None
        """Found behind the events last returned: the stream cannot be read any further."""

    @property
    def pending(self) -> bytes:
        """What arrived of an event that is not finished. Not empty at the end of a stream: it was cut off."""
        return bytes(self._buffer)

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream; return the events that they finish, in order.

        Raises `BrokenReplyError` when an event is longer than the bound. Good events that came in front of it are
        returned first, and `failure` is set; the next call raises it.
        """
        if (  # the usual chunk: exactly one event of one line
            not self._buffer
            and chunk.startswith(b"data: ")
            and chunk.find(b"\n") == len(chunk) - 2
            and chunk.endswith(b"\n\n")
            and b"\r" not in chunk
            and len(chunk) <= self._max
        ):
            self._started = True
            return [Event(chunk[6:-2], b"", chunk, "event", self._id)]
        if self.failure is not None:
            raise self.failure
        if not chunk:
            return []
        self._buffer += chunk
        return self._take_events()

    def finish(self) -> list[Event]:
        """The stream is over: return the event that only waited to see whether an LF follows its last CR.

        What is still `pending` afterwards is an event cut off. Raises a `failure` that has not been raised yet.
        """
        if self.failure is not None:
            raise self.failure
        buffer = self._buffer
        begin = len(_BOM) if not self._started and buffer.startswith(_BOM) else 0
        if not buffer.endswith(b"\r") or (len(buffer) > begin + 1 and buffer[-2] not in b"\r\n"):
            return []
        event = self._parse(bytes(buffer), begin)
        buffer.clear()
        return [event]

    def _take_events(self) -> list[Event]:
        buffer = self._buffer
        if not self._started:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                return []
            self._started = True
            if buffer.startswith(_BOM):
                return self._split(len(_BOM))
        return self._split(0)

    def _split(self, begin: int) -> list[Event]:
        """Cut whole events off the buffer. `begin` is where the first one begins, behind the byte order mark."""
        buffer = self._buffer
        events: list[Event] = []
        unix = buffer.find(b"\r", self._scanned) < 0
        raw_begin = 0
        scan = max(self._scanned, begin)
        while (end := _end_of_event(buffer, begin, scan, unix=unix)) > 0:
            if end - raw_begin > self._max:
                self.failure = self._too_long()
                break
            events.append(self._parse(bytes(buffer[raw_begin:end]), begin - raw_begin))
            raw_begin = begin = scan = end
        del buffer[:raw_begin]
        if len(buffer) > self._max and self.failure is None:
            self.failure = self._too_long()
        if self.failure is not None and not events:
            raise self.failure
        # A byte order mark in front of an unfinished event must be skipped again when its rest arrives.
        self._scanned = max(0, len(buffer) - _LONGEST_EMPTY_LINE)
        if begin > raw_begin:
            self._started = False
        return events

    def _parse(self, raw: bytes, skip: int) -> Event:
        """Read the fields of one event; `skip` bytes of a byte order mark come first."""
        data: list[bytes] = []
        name = b""
        retry = -1
        block = raw[skip:]
        for line in block.split(b"\n") if b"\r" not in block else _ANY_LINE_END.split(block):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field == b"id" and b"\0" not in value:
                self._id = value
            elif field == b"retry" and value.isdigit() and len(value) <= _MOST_DIGITS:
                retry = int(value)
        if not data:  # one empty line of data is an event, whose data is empty
            return Event(b"", name, raw, "silent", self._id, retry)
        return Event(b"\n".join(data), name, raw, "event", self._id, retry)

    def _too_long(self) -> BrokenReplyError:
        return BrokenReplyError(f"The stream carries an event longer than {self._max} bytes; it was given up.")


def _end_of_event(buffer: bytearray, begin: int, scan: int, *, unix: bool) -> int:
    """The offset just behind the event that begins at `begin`, or 0 when it is not finished.

    No empty line begins before `scan`. `unix` says that the buffer holds no CR, so that one fast search is enough.
    """
    if begin >= len(buffer):
        return 0
    if unix:
        if buffer[begin] == _LF:
            return begin + 1
        found = buffer.find(b"\n\n", scan)
        return found + 2 if found >= 0 else 0
    stray = _LINE_END.match(buffer, begin)
    if stray:
        return stray.end()
    match = _EMPTY_LINE.search(buffer, scan)
    return match.end() if match else 0
