"""Sinks that hear of calls a moment later, in batches: many at once cost half of what they cost one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.telemetry.base import BatchSink, Sink
from ai_client.telemetry.lines import Cancellable, Later

_MOST: Final = 16
_SECONDS: Final = 0.05


class Deferred:
    """Keeps finished records for at most 50 ms or 16 calls, then tells each of `sinks` of all of them.

    A finished record no longer changes, so keeping it is safe. Whoever reads what a sink has counted flushes first.
    """

    def __init__(self, sinks: Sequence[Sink], loop: Later) -> None:
        self._sinks = tuple(sinks)
        self._tell = tuple(map(_teller, sinks))
        self._loop = loop
        self._waiting: list[Record] = []
        self._timer: Cancellable | None = None

    def finished(self, record: Record, /) -> None:
        """Take a call in."""
        waiting = self._waiting
        waiting.append(record)
        if self._timer is None:
            self._timer = self._loop.call_later(_SECONDS, self.flush)
        elif len(waiting) >= _MOST:
            self.flush()

    def attempt_failed(self, event: AttemptFailed, /) -> None:
        """Failures are rare: told at once."""
        for sink in self._sinks:
            sink.attempt_failed(event)

    def flush(self) -> None:
        """Tell the sinks of what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        if waiting:
            for tell in self._tell:
                tell(waiting)

    def close(self) -> None:
        """Tell the sinks of what is waiting, and close them."""
        self.flush()
        for sink in self._sinks:
            sink.close()


def _teller(sink: Sink) -> Callable[[Sequence[Record]], None]:
    if isinstance(sink, BatchSink):
        return sink.finished_all

    def one_by_one(records: Sequence[Record]) -> None:
        finished = sink.finished
        for record in records:
            finished(record)

    return one_by_one
