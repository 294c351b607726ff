"""One busy member: how long admission takes while quota is in hand, and how seldom the store is asked."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import uvloop

from ai_client.clock import SystemClock
from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.base import MINUTE_NS, Caller, Kind, Need, Settings, rate
from ai_client.limits.fleet import Fleet
from ai_client.limits.member import Terms
from bench.processes import free_port
from bench.quota.servers import Redis

NEED: Need = (1, 100, 100, 200, 0)
PER_SECOND = 1000


@dataclass(frozen=True)
class Hot:
    """Microseconds of one admission, in order; calls that had to wait; round trips a request."""

    took_us: list[float]
    waited: int
    trips: float

    def at(self, part: float) -> float:
        """A percentile, from 0 to 1."""
        return self.took_us[min(len(self.took_us) - 1, int(part * len(self.took_us)))]


def measure(seconds: float) -> Hot:
    """A thousand calls a second, of a limit that has room for them."""
    port = free_port()
    with Redis(port), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_measure(f"redis://127.0.0.1:{port}/0", seconds))


async def _measure(url: str, seconds: float) -> Hot:
    fleet = Fleet(
        RedisStore(connect(url), "bench"),
        Terms("hot"),
        SystemClock(),
        on_mode=lambda *_: None,
        on_pause=lambda *_: None,
    )
    calls = PER_SECOND * 60
    limit = Settings((rate(Kind.REQUESTS, 2 * calls, MINUTE_NS, 1.0), rate(Kind.TOKENS, 400 * calls, MINUTE_NS, 1.0)))
    gate = fleet.make("provider:hot", "the provider 'hot'", limit, keep=True)
    patience = SystemClock().monotonic_ns() + 30_000_000_000
    (await gate.reserve(NEED, Caller(), patience)).release(NEED)
    begin = time.perf_counter()
    took: list[float] = []
    waited = 0
    before = fleet.trips
    while (now := time.perf_counter()) < begin + seconds:
        due = int((now - begin) * PER_SECOND) - len(took) - waited
        for _ in range(due):
            started = time.perf_counter_ns()
            held = gate.try_reserve(NEED, 5)
            ended = time.perf_counter_ns()
            if held is None:
                waited += 1
                held = await gate.reserve(NEED, Caller(), patience + int(seconds * 2e9))
            else:
                took.append((ended - started) / 1000)
            held.release((1, 90, 80, 170, 0))
        await asyncio.sleep(0.001)
    trips = (fleet.trips - before) / max(1, len(took) + waited)
    await fleet.close()
    return Hot(sorted(took), waited, trips)
