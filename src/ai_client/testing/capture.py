"""What the telemetry hears, kept for a test to look at."""

from __future__ import annotations

import msgspec

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record


class CaptureSink:
    """A `Sink` that keeps everything: `records` of calls that ended, `failures` of attempts, and whether it `closed`.

    A record is copied as it is handed over: it stays what it was at that moment.
    """

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failures: list[AttemptFailed] = []
        self.closed = False

    def finished(self, record: Record, /) -> None:
        """Keep a copy of `record`."""
        self.records.append(msgspec.structs.replace(record))

    def attempt_failed(self, event: AttemptFailed, /) -> None:
        """Keep `event`."""
        self.failures.append(event)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
