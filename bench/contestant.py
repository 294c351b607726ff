"""Who is measured: something on a port that answers chat requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench import workload
from bench.processes import Process

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
