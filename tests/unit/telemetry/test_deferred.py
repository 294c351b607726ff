"""Sinks that hear of calls a moment later."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.telemetry.deferred import Deferred
from ai_client.testing import CaptureSink
from tests.calls import make_record


class Timer:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Remembers what was to be called later."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        assert 0 < delay <= 0.1
        self.timers.append(Timer(callback))
        return self.timers[-1]


def test_calls_are_told_when_the_timer_says_so_in_order_and_once() -> None:
    loop, first, second = Loop(), CaptureSink(), CaptureSink()
    deferred = Deferred([first, second], loop)
    records = [make_record() for _ in range(3)]
    for record in records:
        deferred.finished(record)
    assert not first.records
    assert len(loop.timers) == 1
    loop.timers[0].callback()
    assert first.records == records
    assert second.records == records
    deferred.flush()
    assert len(first.records) == 3
    deferred.finished(records[0])
    assert len(loop.timers) == 2


def test_many_calls_do_not_wait_for_the_timer() -> None:
    loop, sink = Loop(), CaptureSink()
    deferred = Deferred([sink], loop)
    for _ in range(256):
        deferred.finished(make_record())
    assert len(sink.records) == 256
    assert loop.timers[0].cancelled


def test_a_failed_attempt_is_told_at_once_and_closing_tells_the_rest() -> None:
    loop, sink = Loop(), CaptureSink()
    deferred = Deferred([sink], loop)
    event = AttemptFailed("r", "p/m", 1, "x", 500, "text", -1)
    deferred.attempt_failed(event)
    assert sink.failures == [event]
    deferred.finished(make_record())
    deferred.close()
    assert len(sink.records) == 1
    assert sink.closed


def test_a_sink_that_is_quicker_with_many_is_told_of_many() -> None:
    class Batches(CaptureSink):
        def __init__(self) -> None:
            super().__init__()
            self.batches: list[int] = []

        def finished_all(self, records: Sequence[Record], /) -> None:
            self.batches.append(len(records))

    loop, batches, single = Loop(), Batches(), CaptureSink()
    deferred = Deferred([batches, single], loop)
    for _ in range(3):
        deferred.finished(make_record())
    deferred.flush()
    deferred.flush()  # of nothing, nobody is told
    assert batches.batches == [3]
    assert batches.records == []
    assert len(single.records) == 3
