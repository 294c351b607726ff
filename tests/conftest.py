"""What every test may use: a way to run coroutines, settled property tests, and an environment without surprises."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import hypothesis
import pytest
import uvloop

from tests.running import Run

T = TypeVar("T")

_PATIENCE_S = 60.0
"""A coroutine that takes longer hangs. Far above what any test needs, so that a busy machine fails none."""

# The gate must give one answer for one commit, so it draws the same examples every time; to look for new ones:
# pytest --hypothesis-profile=explore
hypothesis.settings.register_profile("gate", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=5_000, print_blob=True)
hypothesis.settings.load_profile("gate")


@pytest.fixture
def run() -> Run:
    """`run(coroutine)` runs it on a fresh uvloop loop and returns its result. What still runs then is cancelled."""

    async def bounded(coroutine: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(_PATIENCE_S):
            return await coroutine

    def run_now(coroutine: Coroutine[Any, Any, T], /) -> T:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(bounded(coroutine))

    return run_now


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, proxies and settings in the developer's environment must not reach a test, nor a process it starts."""
    for name in list(os.environ):
        if name.startswith(("AI_CLIENT_", "HOLYSHEEP_", "OPENAI_", "ANTHROPIC_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def plain_user() -> Iterator[None]:
    """Root may do anything: as somebody else for as long as the test lasts. Folders of `tmp_path` are then closed."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    yield
    if root:
        os.seteuid(0)
