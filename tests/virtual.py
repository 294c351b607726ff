"""An event loop whose time is a `FakeClock`: where every task waits, it jumps to the next timer. Nothing takes long."""

from __future__ import annotations

import asyncio
import contextlib
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ai_client.testing import FakeClock

T = TypeVar("T")


class _Jump(selectors.DefaultSelector):
    """A selector that does not wait: it lets the clock pass over the time that it should have waited."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits, no timer is set: nothing would ever happen again")
            self._clock.advance_ns(max(math.ceil(timeout * 1e9), 0))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        super().__init__(_Jump(clock))

    def time(self) -> float:
        return self.clock.monotonic_ns() / 1e9


async def pass_seconds(seconds: float) -> None:
    """Let `seconds` of the loop's own time pass."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().create_future()


def run_virtually(scenario: Callable[[FakeClock], Coroutine[Any, Any, T]]) -> T:
    """Run `scenario(clock)` to its end in virtual time."""
    clock = FakeClock()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(scenario(clock))
