"""What every place for the ledger owes, tried on each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ai_client.cost.backends.memory import MemoryLedger
from ai_client.cost.backends.sqlite import SqliteLedger
from ai_client.cost.base import Entry, LedgerBackend

ALL = ("0000-00-00", "9999-99-99")
MAKERS: dict[str, Callable[[Path], LedgerBackend]] = {
    "memory": lambda _: MemoryLedger(),
    "sqlite": lambda path: SqliteLedger(path / "ledger.db"),
}


@pytest.fixture(params=MAKERS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerBackend]:
    made = MAKERS[request.param](tmp_path)
    yield made
    made.close()


def row(day: str, app: str = "app", *figures: int, model: str = "gpt-4.1") -> Entry:
    return Entry(day, app, "tag", model, f"openai/{model}", *figures)


def test_at_first_there_is_nothing(backend: LedgerBackend) -> None:
    assert backend.read(*ALL) == []


def test_rows_come_back_sorted_by_their_keys(backend: LedgerBackend) -> None:
    rows = [
        row("2026-02-01", "a", 1),
        row("2026-01-31", "b", 1, 2, 3, 4, 5, 6),
        row("2026-01-31", "a", 1, model="o3"),
        row("2026-01-31", "a", 1),
    ]
    backend.add(rows)
    assert backend.read(*ALL) == sorted(rows, key=lambda each: each.key)


def test_equal_keys_are_added_up_within_and_between_writes(backend: LedgerBackend) -> None:
    backend.add([row("2026-01-31", "app", 1, 1, 10, 4, 5, 700), row("2026-01-31", "app", 2, 0, 1, 1, 1, 30)])
    backend.add([row("2026-01-31", "app", 3, 1, 100, 0, 0, 4)])
    assert backend.read(*ALL) == [row("2026-01-31", "app", 6, 2, 111, 5, 6, 734)]


def test_both_days_are_included(backend: LedgerBackend) -> None:
    backend.add([row(f"2026-01-{day:02}", "app", 1) for day in range(1, 32)])
    assert [each.day for each in backend.read("2026-01-09", "2026-01-11")] == ["2026-01-09", "2026-01-10", "2026-01-11"]
    assert backend.read("2026-02-01", "2026-12-31") == []
    assert backend.read("2026-01-11", "2026-01-09") == []


def test_any_text_is_a_key(backend: LedgerBackend) -> None:
    odd = Entry("2026-01-31", "", "Köln'; DROP TABLE spending --", "模型", "a/b/c", 1)
    backend.add([odd])
    assert backend.read(*ALL) == [odd]


def test_nothing_to_add_is_no_error(backend: LedgerBackend) -> None:
    backend.add([])
    assert backend.read(*ALL) == []


def test_large_figures_stay_exact(backend: LedgerBackend) -> None:
    backend.add([row("2026-01-31", "app", 0, 0, 0, 0, 0, 2**53 + 1)])
    backend.add([row("2026-01-31", "app", 0, 0, 0, 0, 0, 2**53)])
    assert backend.read(*ALL)[0].cost_nano == 2**54 + 1


def test_any_thread_may_add(backend: LedgerBackend) -> None:
    def work() -> None:
        for _ in range(25):
            backend.add([row("2026-01-31", "app", 1)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert backend.read(*ALL) == [row("2026-01-31", "app", 100)]


def test_closing_twice_is_harmless(backend: LedgerBackend) -> None:
    backend.close()
    backend.close()
