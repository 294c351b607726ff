"""A loop of each kind, for what depends on how its transports behave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
import uvloop

from tests.running import Run

T = TypeVar("T")


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def on_each(request: pytest.FixtureRequest) -> Run:
    """As `run`, on uvloop and on the standard library's loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] = request.param

    async def bounded(coroutine: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(60.0):
            return await coroutine

    def run_now(coroutine: Coroutine[Any, Any, T], /) -> T:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(bounded(coroutine))

    return run_now
