"""The ledger: who spent what, on which model, on which day. Counted in memory, handed over to a backend in lots."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Final

from ai_client.clock import local_day
from ai_client.cost.base import Entry, LedgerBackend
from ai_client.model.record import Record
from ai_client.model.usage import Lost

_QUARTER_NS: Final = 15 * 60 * 1_000_000_000
_FIGURES: Final = 6


class Ledger:
    """Counts every finished call. Counting is quick and does no I/O; `flush` does, and may run in another thread."""

    def __init__(self, backend: LedgerBackend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._totals: dict[tuple[str, str, str, str, str], list[int]] = {}
        self._day = ""
        self._quarter = -1

    def count(self, record: Record) -> None:
        """Count one finished call, under the local day on which it began."""
        self.count_all((record,))

    def count_all(self, records: Iterable[Record]) -> None:
        """As `count` for each of them."""
        with self._lock:
            for record in records:
                quarter = record.unix_ns // _QUARTER_NS
                if quarter != self._quarter:
                    # Every time zone in use is a whole number of quarters from UTC, so a day never begins within one:
                    # the calendar is asked once a quarter of an hour, and the answer is exact.
                    self._day = local_day(record.unix_ns)
                    self._quarter = quarter
                key = (self._day, record.app, record.tag, record.model, record.target)
                totals = self._totals.get(key)
                if totals is None:
                    totals = self._totals[key] = [0] * _FIGURES
                usage = record.usage
                totals[0] += 1
                if record.error:
                    totals[1] += 1
                totals[2] += usage.input_tokens
                totals[3] += usage.cached_input_tokens
                totals[4] += usage.output_tokens
                totals[5] += record.cost_nano
                for each in record.lost:
                    totals[5] -= each.cost_nano
                    self._lose(record, each)

    def _lose(self, record: Record, lost: Lost) -> None:
        """Spent, but where it was spent, and for no call of its own."""
        totals = self._totals.setdefault((self._day, record.app, record.tag, lost.model, lost.target), [0] * _FIGURES)
        totals[2] += lost.usage.input_tokens
        totals[3] += lost.usage.cached_input_tokens
        totals[4] += lost.usage.output_tokens
        totals[5] += lost.cost_nano

    def flush(self) -> int:
        """Hand what was counted since the last flush to the backend; returns the number of rows.

        Raises OSError when the backend fails; everything is then kept, and goes with the next flush.
        """
        with self._lock:
            totals, self._totals = self._totals, {}
        rows = [Entry(*key, *figures) for key, figures in totals.items()]
        if not rows:
            return 0
        try:
            self._backend.add(rows)
        except BaseException:
            self._take_back(rows)
            raise
        return len(rows)

    def read(self, since_day: str, until_day: str) -> list[Entry]:
        """Everything counted on these days, both included (`2026-01-31`), what is not flushed yet too.

        Raises OSError when the backend fails.
        """
        self.flush()
        return self._backend.read(since_day, until_day)

    def close(self) -> None:
        """Flush, and close the backend. Raises OSError, and closes nothing, when what was counted cannot be kept."""
        self.flush()
        self._backend.close()

    def _take_back(self, rows: list[Entry]) -> None:
        with self._lock:
            for row in rows:
                totals = self._totals.setdefault(row.key, [0] * _FIGURES)
                for place, figure in enumerate(row.figures):
                    totals[place] += figure
