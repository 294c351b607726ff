"""Outermost: whatever happens inside, it is recorded once, when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from ai_client.clock import Clock
from ai_client.errors import AIClientError
from ai_client.model.call import Call
from ai_client.model.record import Record
from ai_client.model.reply import Reply, StreamEnd
from ai_client.pipeline.base import CallStage
from ai_client.telemetry.base import Sink

CLIENT_CLOSED = 499
"""The status of a call whose caller went away (nginx's, for want of a standard one)."""


class Observed:
    """Fills in how the call ended, and tells every sink. `in_flight` and `held_bytes` are of the calls under way."""

    __slots__ = ("_clock", "_inner", "_sinks", "held_bytes", "in_flight")

    def __init__(self, inner: CallStage, sinks: Sequence[Sink], clock: Clock) -> None:
        self._inner = inner
        self._sinks = tuple(sinks)
        self._clock = clock
        self.in_flight = 0
        self.held_bytes = 0

    async def __call__(self, call: Call) -> Reply:
        """Pass the call on."""
        record = call.record
        self.in_flight += 1
        self.held_bytes += record.bytes_in
        try:
            reply = await self._inner(call)
        except BaseException as error:
            self._ended(record, error)
            raise
        record.status = reply.status
        if reply.stream is None:
            record.bytes_out = len(reply.body)
            self._ended(record, None)
        else:
            reply.stream.on_end(partial(self._stream_ended, record))
        return reply

    def refused(self, record: Record, error: AIClientError) -> None:
        """A request that never became a call, such as one that cannot be read: recorded all the same."""
        self.in_flight += 1
        self.held_bytes += record.bytes_in
        self._ended(record, error)

    def _stream_ended(self, record: Record, end: StreamEnd) -> None:
        self._ended(record, asyncio.CancelledError() if end.cancelled else end.error)

    def _ended(self, record: Record, error: BaseException | None) -> None:
        self.in_flight -= 1
        self.held_bytes -= record.bytes_in
        record.duration_ns = self._clock.monotonic_ns() - record.started_ns
        if error is not None:
            record.status, record.error = _named(error)
        for sink in self._sinks:
            sink.finished(record)


def _named(error: BaseException) -> tuple[int, str]:
    if isinstance(error, AIClientError):
        return error.status, error.code or error.type
    if isinstance(error, asyncio.CancelledError):
        return CLIENT_CLOSED, "cancelled"
    return 500, "internal"
