"""What a benchmark's figures say, beside their targets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CACHE = re.compile(r'^ai_client_cache_total\{answer="(\w+)"\} (\S+)', re.MULTILINE)
_POOL = re.compile(r"^ai_client_pool_connections\{[^}]*\} (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Counted:
    """Of the service's metrics: questions to the cache, those that it answered, and connections to providers."""

    cache_asked: int
    cache_hits: int
    connections: int


@dataclass(frozen=True)
class Targets:
    """What has to be reached. `p99_ms` 0 is any; `failed` and `hit_rate` are shares; `pool_size` is connections."""

    p99_ms: float
    failed: float
    hit_rate: float
    pool_size: int


def counted(metrics: str) -> Counted:
    """Read the metrics."""
    answers = {answer: int(float(count)) for answer, count in _CACHE.findall(metrics)}
    asked = sum(answers.values())
    return Counted(asked, asked - answers.get("miss", 0), sum(int(float(each)) for each in _POOL.findall(metrics)))


def missed(figures: Mapping[str, Any], targets: Targets) -> list[str]:
    """The targets that were missed, in words."""
    found = []
    requests, failed = int(figures["requests"]), int(figures["failed"])
    p99 = float((figures.get("latency_ms") or {}).get("p99") or 0)
    if requests and failed / requests > targets.failed:
        found.append(f"{failed} of {requests} requests failed; {targets.failed:.1%} may")
    if targets.p99_ms and p99 > targets.p99_ms:
        found.append(f"the 99th percentile is {p99:.1f} ms; the target is {targets.p99_ms:g} ms")
    if figures["hit_rate"] < targets.hit_rate:
        found.append(f"the cache answered {figures['hit_rate']:.1%}; the target is {targets.hit_rate:.1%}")
    if figures["connections"] >= targets.pool_size:
        found.append(
            f"the pool is full, {figures['connections']} of {targets.pool_size} connections: calls wait for one"
        )
    return found
