"""The call log, which is the audit record: one line for each call that ended, one for each attempt that failed.

It says who called what, when, how it went and what it cost; never a prompt, an answer or a key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from ai_client.clock import Clock
from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.telemetry.base import Level
from ai_client.telemetry.lines import LineWriter
from ai_client.telemetry.text import LONGEST, Stamp, Style, Value, dollars, tame, text_line

USUAL_BYTES = 2048
"""A line beyond this holds a value that somebody made long on purpose."""

QUOTING_STATUSES = frozenset({400, 413, 422})
"""Refusals of what was asked: a provider's words about it may quote the prompt, so they are left out."""

_QUOTED = re.compile(
    r"( answered (?:\d{3}|with an error where an answer was due)| broke its stream off with an error): .*", re.DOTALL
)
"""A provider's own words behind ours: they may quote the prompt. The caller is told them, the log keeps the code."""

_KEYLIKE = re.compile(r"\b(?:(?:hs|sk|pk|gsk|xai)[-_][\w*-]{4,}|AIza[\w-]+|Bearer\s+\S+)", re.IGNORECASE)


class CallLine(msgspec.Struct, gc=False):
    """A finished call. docs/reference/logs.md explains each key, and is checked against this list."""

    ts: str
    level: str
    event: str
    request_id: str
    app: str
    tag: str
    endpoint: str
    model: str
    asked_model: str
    target: str
    status: int
    error: str
    attempts: int
    hedge: str
    cache: str
    stream: bool
    priority: int
    queue_ms: float
    ttft_ms: float
    duration_ms: float
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    usage_estimated: bool
    cost_usd: str
    lost_usd: str
    bytes_in: int
    bytes_out: int


class AttemptLine(msgspec.Struct, gc=False):
    """A failed attempt."""

    ts: str
    level: str
    event: str
    request_id: str
    target: str
    attempt: int
    status: int
    error: str
    message: str
    retry_in_ms: float | None


_NO_DOLLARS = dollars(0)
_encoder = msgspec.json.Encoder()
_FIELDS = msgspec.structs.fields(CallLine)
_WORDS = tuple(place for place, field in enumerate(_FIELDS) if field.type is str)
_FLAGS = tuple(place for place, field in enumerate(_FIELDS) if field.type is bool)
_TEMPLATE = "%s %s %s " + " ".join(f"{field.name}=%s" for field in _FIELDS[3:]) + "\n"
_PLAIN = re.compile(r"[!#-<>-\[\]-~]*").fullmatch  # printable ASCII without space, quote, `=`, backslash


class CallLog:
    """Writes calls as lines: INFO for a call that went well, ERROR for one that failed, WARNING for a failed attempt.

    A level that is off costs a call of a function that does nothing, chosen here once.
    """

    def __init__(
        self, writer: LineWriter, clock: Clock, *, level: Level = Level.INFO, style: Style = Style.JSON
    ) -> None:
        self._writer = writer
        self._write = writer.write
        self._clock = clock
        self._level = level
        self._stamp = Stamp().render
        self._encode: Callable[[CallLine | AttemptLine], bytes] = _json if style is Style.JSON else _text
        self.finished: Callable[[Record], None]
        if level <= Level.INFO:
            self.finished = self._finished
        elif level <= Level.ERROR:
            self.finished = self._finished_badly
        else:
            self.finished = _ignore
        self.attempt_failed: Callable[[AttemptFailed], None]
        self.attempt_failed = self._attempt_failed if level <= Level.WARNING else _ignore

    def close(self) -> None:
        """Write what is gathered and close the file."""
        self._writer.close()

    def finished_all(self, records: Sequence[Record], /) -> None:
        """Calls are over: their lines are encoded in one go, which takes half the time."""
        if self._level > Level.INFO:
            records = [record for record in records if record.error and self._level <= Level.ERROR]
        lines = [self._line(record) for record in records]
        encoded = _json_lines(lines) if self._encode is _json else b""
        if encoded:
            self._write(encoded, len(lines))
            return
        for line in lines:
            self._write(self._encode(line))

    def _finished(self, record: Record, /) -> None:
        self._write(self._encode(self._line(record)))

    def _line(self, record: Record) -> CallLine:
        usage = record.spent if record.lost else record.usage
        return CallLine(
            # the end of the call, without asking the clock again
            self._stamp(record.unix_ns + record.duration_ns),
            "ERROR" if record.error else "INFO",
            "call",
            record.request_id,
            record.app,
            record.tag,
            record.endpoint,
            record.model,
            record.asked_model,
            record.target,
            record.status,
            record.error,
            record.attempts,
            record.hedge,
            record.cache,
            record.stream,
            record.priority,
            record.queue_ns // 1000 / 1000,
            record.first_byte_ns // 1000 / 1000,
            record.duration_ns // 1000 / 1000,
            usage.input_tokens,
            usage.cached_input_tokens,
            usage.output_tokens,
            usage.estimated,
            dollars(record.cost_nano) if not record.unpriced else "unknown",
            dollars(record.lost_nano) if record.lost else _NO_DOLLARS,
            record.bytes_in,
            record.bytes_out,
        )

    def _finished_badly(self, record: Record, /) -> None:
        if record.error:
            self._finished(record)

    def _attempt_failed(self, event: AttemptFailed, /) -> None:
        self._write(
            self._encode(
                AttemptLine(
                    ts=self._stamp(self._clock.unix_ns()),
                    level="WARNING",
                    event="attempt_failed",
                    request_id=event.request_id,
                    target=event.target,
                    attempt=event.number,
                    status=event.status,
                    error=event.code,
                    message="" if event.status in QUOTING_STATUSES else _own_words(event.message),
                    retry_in_ms=event.waits_ns // 1000 / 1000 if event.waits_ns >= 0 else None,
                )
            )
        )


def _own_words(message: str) -> str:
    """What we say of a failure, without anything that others said."""
    return _KEYLIKE.sub("***", _QUOTED.sub(r"\1", message)[:LONGEST])


def _ignore(_: Record | AttemptFailed, /) -> None:
    """A level that is off."""


def _json_lines(lines: Sequence[CallLine]) -> bytes:
    """As `_json` for each of them; b"" where one needs a closer look."""
    try:
        encoded = _encoder.encode_lines(lines)
    except UnicodeEncodeError:
        return b""
    return encoded if encoded.isascii() and _short(encoded) else b""


def _short(lines: bytes) -> bool:
    """Is none of these lines, each with its newline, longer than `USUAL_BYTES`? Looks at every fourth or so."""
    at = 0
    while at < len(lines):
        at = lines.rfind(b"\n", at, at + USUAL_BYTES + 1) + 1
        if not at:
            return False
    return True


def _json(line: CallLine | AttemptLine) -> bytes:
    """JSON escapes control characters; what else could disturb a reader is rare, and found by looking at the bytes."""
    try:
        encoded = msgspec.json.encode(line)
    except UnicodeEncodeError:  # a lone surrogate, from a header of the caller's
        encoded = b""
    if not encoded or len(encoded) > USUAL_BYTES or not encoded.isascii():
        pairs = _pairs(line)
        encoded = msgspec.json.encode({key: tame(value) if isinstance(value, str) else value for key, value in pairs})
    return encoded + b"\n"


def _text(line: CallLine | AttemptLine) -> bytes:
    """A call whose values are all plain words goes through one template; anything else is written word by word."""
    if isinstance(line, CallLine):
        values = list(msgspec.structs.astuple(line))
        words = "".join([values[place] for place in _WORDS])
        if len(words) <= LONGEST and _PLAIN(words):
            for place in _FLAGS:
                values[place] = "true" if values[place] else "false"
            return (_TEMPLATE % tuple(values)).encode()
    return text_line((line.ts, line.level, line.event), _pairs(line)[3:])


def _pairs(line: CallLine | AttemptLine) -> list[tuple[str, Value]]:
    return list(zip(line.__struct_fields__, msgspec.structs.astuple(line), strict=True))
