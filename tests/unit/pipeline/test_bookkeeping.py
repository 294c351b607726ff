"""The ledger hears of calls as any sink does."""

from __future__ import annotations

from ai_client.cost.backends.memory import MemoryLedger
from ai_client.cost.ledger import Ledger
from ai_client.model.events import AttemptFailed
from ai_client.pipeline.bookkeeping import LedgerSink
from tests.calls import make_record


def test_the_ledger_counts_calls_and_not_attempts() -> None:
    ledger = Ledger(MemoryLedger())
    sink = LedgerSink(ledger)
    sink.attempt_failed(AttemptFailed("r", "p/m", 1, "x", 500, "text", -1))
    sink.finished(make_record())
    sink.close()
    (row,) = ledger.read("0000-00-00", "9999-99-99")
    assert row.calls == 1
