"""When the fleet's store is asked: in the background, never on a call's way, and seldom enough for one server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ai_client.clock import Clock

PATIENCE: Final = 1.0
"""Seconds for the store to answer."""

IDLE_NS: Final = 1_000_000_000
"""Between two questions of one who needs nothing."""

RETRY_NS: Final = 500_000_000
"""Before a store that did not answer is asked again."""

_LEAST_PAUSE_NS = 20_000_000
_PER_MEMBER_NS = 100_000  # so that a large fleet asks at most 10,000 times a second


def least_pause_ns(members: int) -> int:
    """Between two questions of one member out of so many, however short it is."""
    return max(_LEAST_PAUSE_NS, members * _PER_MEMBER_NS)


class Supply:
    """One task, which does what is due and then sleeps until more is, or until it is called."""

    def __init__(self, turn: Callable[[int], Awaitable[int]], clock: Clock) -> None:
        """`turn(now_ns)` does what is due now, and returns when something will be."""
        self._turn = turn
        self._clock = clock
        self._called = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def call(self) -> None:
        """Something may be due earlier than it seemed."""
        self._called.set()
        if self._task is None or self._task.done():
            try:
                self._task = asyncio.get_running_loop().create_task(self._run())
            except RuntimeError:
                return  # no loop yet: the first that has to wait will have one

    async def stop(self) -> None:
        """Do nothing more, unless it is called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            self._called.clear()
            next_ns = await self._turn(self._clock.monotonic_ns())
            ahead_ns = next_ns - self._clock.monotonic_ns()
            if ahead_ns > 0:
                try:
                    async with asyncio.timeout(ahead_ns / 1e9):
                        await self._called.wait()
                except TimeoutError:
                    continue
