"""Who is measured: something on a port that answers chat requests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench import workload
from bench.processes import Process

_SETTLE_SECONDS = 15.0
_SETTLE_STEP = 0.2
_IDLE_CPU = 0.011
"""Seconds of CPU in a step: the clock that is read here ticks every 0.01."""

JSON_HEADERS = {"Content-Type": "application/json", "Authorization": f"Bearer {workload.KEY}"}


@dataclass(frozen=True)
class Contestant:
    """A proxy on its way to the upstream, or, without a process of its own, the upstream itself."""

    name: str
    port: int
    process: Process | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: JSON_HEADERS)

    def cpu_seconds(self) -> float:
        """CPU time used so far; 0 for the upstream itself, whose cost is nobody's figure."""
        return self.process.cpu_seconds() if self.process else 0.0

    def settle(self) -> None:
        """Returns when it rests, or after 15 s.

        A load that ends leaves its last requests behind: a slow proxy is busy with them for a second, on the core of
        whoever is measured next.
        """
        deadline = time.monotonic() + _SETTLE_SECONDS
        used = self.cpu_seconds()
        while time.monotonic() < deadline:
            time.sleep(_SETTLE_STEP)
            before, used = used, self.cpu_seconds()
            if used - before < _IDLE_CPU:
                return
