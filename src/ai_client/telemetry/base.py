"""What every sink can do, and the levels that logs know."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record


class Sink(Protocol):
    """Hears of calls as they end.

    Both verbs run on the hot path: they are synchronous, never raise, never wait, and keep nothing of what they
    are handed, since a record is the call's own.
    """

    def finished(self, record: Record, /) -> None:
        """A call is over, well or badly; `record` is complete. Heard exactly once for each call."""

    def attempt_failed(self, event: AttemptFailed, /) -> None:
        """One attempt of a call failed; the call may go on."""

    def close(self) -> None:
        """Write out what is held and let go of it. Harmless when repeated."""


@runtime_checkable
class BatchSink(Sink, Protocol):
    """A sink that is quicker with many calls at once than with one after the other."""

    def finished_all(self, records: Sequence[Record], /) -> None:
        """As `finished` for each of them, in their order."""


class Level(enum.IntEnum):
    """How much a line matters; the names are those that `[logging] level` takes."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50
