"""The ledger, as one who hears of calls: the two rooms do not know one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ai_client.cost.ledger import Ledger
from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record


class LedgerSink:
    """Tells the ledger of every call."""

    def __init__(self, ledger: Ledger) -> None:
        self.finished: Callable[[Record], None] = ledger.count
        self.finished_all: Callable[[Sequence[Record]], None] = ledger.count_all

    def attempt_failed(self, _: AttemptFailed, /) -> None:
        """The ledger counts calls: what their attempts cost is part of them."""

    def close(self) -> None:
        """The ledger is closed by whoever opened it."""
