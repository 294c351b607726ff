"""A ledger that lasts as long as the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ai_client.cost.base import Entry, merge


class MemoryLedger:
    """Keeps the rows in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: list[Entry] = []

    def add(self, rows: Sequence[Entry]) -> None:
        """Add these figures to what is there."""
        with self._lock:
            self._rows = merge((*self._rows, *rows))

    def read(self, since_day: str, until_day: str) -> list[Entry]:
        """The rows of these days, both included, sorted by their keys."""
        with self._lock:
            return [row for row in self._rows if since_day <= row.day <= until_day]

    def close(self) -> None:
        """There is nothing to let go of."""
