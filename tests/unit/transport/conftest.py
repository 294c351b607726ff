"""Loops of each kind, for what depends on how their transports behave. Whatever a loop complains of fails the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
import uvloop

from tests.running import Run

T = TypeVar("T")
LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_PATIENCE_S = 60.0


def _strict(factory: LoopFactory) -> Run:
    def run_now(coroutine: Coroutine[Any, Any, T], /) -> T:
        complaints: list[dict[str, Any]] = []

        async def bounded() -> T:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(_PATIENCE_S):
                return await coroutine

        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(bounded())
        assert complaints == []
        return result

    return run_now


@pytest.fixture
def run() -> Run:
    """`run(coroutine)` runs it on a fresh uvloop loop and returns its result."""
    return _strict(uvloop.new_event_loop)


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def on_each(request: pytest.FixtureRequest) -> Run:
    """As `run`, on uvloop and on the standard library's loop."""
    return _strict(request.param)
