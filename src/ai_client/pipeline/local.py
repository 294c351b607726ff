"""Instead of all the stages inside `observed`, where the node's daemon runs them: hand the call to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ai_client.answers import nano, read_usage
from ai_client.clock import Clock
from ai_client.cost.meter import cost_nano
from ai_client.cost.prices import Price
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.record import Record
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.usage import NO_USAGE
from ai_client.pipeline.send import Send
from ai_client.providers.base import Provider

DAEMON = Target("daemon", "", "")
_COST: Final = b"x-ai-client-cost-usd"
_KEPT: Final = frozenset({"hit", "coalesced"})
"""What the cache said of an answer that cost nothing."""


class Local:
    """One attempt, which the daemon turns into as many as it takes; its headers say what happened."""

    __slots__ = ("_clock", "_price", "_send")

    def __init__(self, provider: Provider, price: Callable[[str], Price | None], clock: Clock) -> None:
        self._send = Send({DAEMON.key: provider})
        self._price = price
        self._clock = clock

    async def __call__(self, call: Call) -> Reply:
        """Pass the call on, with what the daemon has to know of it."""
        record = call.record
        left = (call.deadline_ns - self._clock.monotonic_ns()) / 1e9
        headers = [
            *call.headers,
            (b"x-priority", b"%d" % call.priority),
            (b"x-ai-client-timeout", b"%.3f" % max(left, 0.001)),
        ]
        if record.tag:
            headers.append((b"x-ai-client-tag", record.tag.encode("latin-1", "replace")))
        if not call.cache:
            headers.append((b"cache-control", b"no-cache"))
        if call.whole is not None:
            headers.append((b"x-ai-client-commit", b"whole" if call.whole else b"first_content"))
        reply = await self._send(Attempt(msgspec.structs.replace(call, headers=headers, whole=None), DAEMON))
        if reply.stream is None:
            record.unpriced = all(name != _COST for name, _ in reply.headers)
        reply.headers = _note(reply, record)
        if record.usage.estimated:  # by the daemon, which knows more than the provider here
            reply.usage = record.usage
        record.usage = NO_USAGE if record.cache in _KEPT else reply.usage
        if reply.stream is not None:
            reply.stream.on_end(lambda end: self._stream_ended(record, end))
        return reply

    def _stream_ended(self, record: Record, end: StreamEnd) -> None:
        # the headers left before the cost was known: it is reckoned here from the same table
        if record.cache in _KEPT:
            return
        record.usage = end.usage
        # by the name that it has here, as the daemon prices it: the stream tells the provider's
        price = self._price(record.target.partition("/")[2] or record.model)
        if price is not None:
            record.cost_nano = cost_nano(price, end.usage)
        else:
            record.unpriced = end.usage.total_tokens > 0


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _milliseconds(value: bytes) -> int:
    return int(float(value) * 1e6)


_NOTES: Mapping[bytes, tuple[str, Callable[[bytes], Any]]] = {
    b"x-ai-client-target": ("target", _text),
    b"x-ai-client-attempts": ("attempts", int),
    b"x-ai-client-queue-ms": ("queue_ns", _milliseconds),
    b"x-ai-client-queue-position": ("queue_position", int),
    b"x-ai-client-queue-expected-ms": ("queue_expected_ns", _milliseconds),
    b"x-ai-client-cache": ("cache", _text),
    b"x-ai-client-commit": ("commit", _text),
    _COST: ("cost_nano", nano),
    b"x-ai-client-hedge": ("hedge", _text),
    b"x-ai-client-usage": ("usage", read_usage),
    b"x-upstream-request-id": ("request_id", _text),
}
"""Each header that the daemon says something of the call in: the record's field, and how it is read."""


def _note(reply: Reply, record: Record) -> list[tuple[bytes, bytes]]:
    """Write what the daemon said of the call into its record; returns the headers that remain."""
    remaining = []
    for name, value in reply.headers:
        note = _NOTES.get(name)
        if note is None:
            remaining.append((name, value))
        else:
            setattr(record, note[0], note[1](value))
    return remaining
