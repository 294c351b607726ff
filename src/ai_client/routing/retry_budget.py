"""How many retries a target gets: a share of its traffic, so that an outage does not multiply the load on it.

After Finagle's RetryBudget (twitter.github.io/finagle: ttl, minRetriesPerSec, percentCanRetry): 20 % of the requests of
the last 10 seconds, and a few more for light traffic. Envoy's `retry_budget` has the same 20 %.
"""

from __future__ import annotations

from typing import Final

from ai_client.routing.window import Window

SPAN_NS: Final = 10_000_000_000
"""What counts as now: 10 seconds."""

_REQUESTS, _RETRIES = range(2)


class RetryBudget:
    """The budget of one target. `denied` counts what it refused."""

    __slots__ = ("_floor", "_share", "_window", "denied")

    def __init__(self, share: float, floor: int) -> None:
        """`share` of the requests, 0 to 1, and `floor` besides, may be retried in `SPAN_NS`."""
        self._share = share
        self._floor = floor
        self._window = Window(SPAN_NS, 2)
        self.denied = 0

    def request(self, now_ns: int) -> None:
        """A call came to this target for the first time."""
        self._window.add(now_ns, _REQUESTS)

    def allow(self, now_ns: int) -> bool:
        """Take one retry, or say that there is none left."""
        self._window.forget(now_ns)
        requests, retries = self._window.sums
        if retries + 1 > self._floor + requests * self._share:
            self.denied += 1
            return False
        self._window.add(now_ns, _RETRIES)
        return True
