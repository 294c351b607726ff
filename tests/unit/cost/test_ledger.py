"""The ledger: every call is counted once, whatever the backend does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from ai_client.clock import local_day
from ai_client.cost.backends.memory import MemoryLedger
from ai_client.cost.base import Entry
from ai_client.cost.ledger import Ledger
from ai_client.model.record import Record
from ai_client.model.usage import BROKEN, NO_USAGE, Lost, Usage

SECOND = 1_000_000_000
NOON = 1_769_860_800 * SECOND  # 2026-01-31T12:00:00Z
ALL = ("0000-00-00", "9999-99-99")


def record(
    app: str = "app", *, unix_ns: int = NOON, usage: Usage = NO_USAGE, cost_nano: int = 0, error: str = ""
) -> Record:
    return Record(
        "id", "chat", app, "tag", 5, False, 0, unix_ns,
        model="gpt-4.1", target="openai/gpt-4.1", usage=usage, cost_nano=cost_nano, error=error,
    )  # fmt: skip


def row(app: str, day: str, *figures: int) -> Entry:
    return Entry(day, app, "tag", "gpt-4.1", "openai/gpt-4.1", *figures)


class BrokenLedger(MemoryLedger):
    """A full disk, until it is mended."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = True
        self.closed = False

    def add(self, rows: Sequence[Entry]) -> None:
        if self.broken:
            raise OSError("no space left on device")
        super().add(rows)

    def close(self) -> None:
        self.closed = True


def test_calls_are_added_up() -> None:
    ledger = Ledger(MemoryLedger())
    ledger.count(record(usage=Usage(10, 5, 4), cost_nano=700))
    ledger.count(record(usage=Usage(1, 2), cost_nano=30))
    ledger.count(record(error="upstream_timeout"))
    ledger.count(record("other", cost_nano=1))
    day = local_day(NOON)
    assert ledger.read(*ALL) == [row("app", day, 3, 1, 11, 4, 7, 730), row("other", day, 1, 0, 0, 0, 0, 1)]


def test_flushes_add_to_one_another() -> None:
    backend = MemoryLedger()
    ledger = Ledger(backend)
    assert ledger.flush() == 0
    for cost in (1, 2):
        ledger.count(record(cost_nano=cost))
        assert ledger.flush() == 1
    assert [entry.figures for entry in backend.read(*ALL)] == [(2, 0, 0, 0, 0, 3)]


def test_a_call_counts_on_the_local_day_on_which_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    days = {each: local_day(each) for each in range(NOON, NOON + 3 * 86_400 * SECOND, 900 * SECOND)}
    ledger = Ledger(MemoryLedger())
    for moment in days:
        ledger.count(record(unix_ns=moment))
        ledger.count(record(unix_ns=moment + 899 * SECOND))
        ledger.count(record(unix_ns=NOON))  # a long stream that began days ago ends in between
    counted = {entry.day: entry.calls for entry in ledger.read(*ALL)}
    expected = dict.fromkeys(days.values(), 0)
    for day in days.values():
        expected[day] += 2
    expected[local_day(NOON)] += len(days)
    assert counted == expected
    assert len(counted) == 4


def test_nothing_is_lost_when_the_backend_fails() -> None:
    backend = BrokenLedger()
    ledger = Ledger(backend)
    ledger.count(record(usage=Usage(10, 5, 4), cost_nano=700))
    with pytest.raises(OSError, match="no space"):
        ledger.flush()
    ledger.count(record(cost_nano=1, error="x"))
    ledger.count(record("other"))
    with pytest.raises(OSError, match="no space"):
        ledger.read(*ALL)
    with pytest.raises(OSError, match="no space"):
        ledger.close()
    assert not backend.closed
    backend.broken = False
    ledger.close()
    day = local_day(NOON)
    assert backend.read(*ALL) == [row("app", day, 2, 1, 10, 4, 5, 701), row("other", day, 1, 0, 0, 0, 0, 0)]
    assert backend.closed


def test_calls_counted_during_a_failing_flush_are_kept_too() -> None:
    class Interrupted(MemoryLedger):
        def __init__(self) -> None:
            super().__init__()
            self.outcomes: Iterator[bool] = iter((True, False))

        def add(self, rows: Sequence[Entry]) -> None:
            if next(self.outcomes):
                ledger.count(record(cost_nano=2))
                raise KeyboardInterrupt
            super().add(rows)

    ledger = Ledger(Interrupted())
    ledger.count(record(cost_nano=1))
    with pytest.raises(KeyboardInterrupt):
        ledger.flush()
    assert [entry.figures for entry in ledger.read(*ALL)] == [(2, 0, 0, 0, 0, 3)]


def test_threads_count_and_flush_at_once() -> None:
    backend = MemoryLedger()
    ledger = Ledger(backend)
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for turn in range(500):
            ledger.count(record(cost_nano=1))
            if turn % 50 == 0:
                ledger.flush()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.figures for entry in ledger.read(*ALL)] == [(2000, 0, 0, 0, 0, 2000)]


def test_what_another_attempt_cost_stands_where_it_was_spent() -> None:
    ledger = Ledger(MemoryLedger())
    call = record(usage=Usage(10, 5), cost_nano=700)
    call.lost = (Lost("other/mini", "mini", Usage(4, 3, 2), 100, BROKEN),)
    ledger.count(call)
    day = local_day(NOON)
    assert ledger.read(*ALL) == [
        row("app", day, 1, 0, 10, 0, 5, 600),
        Entry(day, "app", "tag", "mini", "other/mini", 0, 0, 4, 2, 3, 100),
    ]
