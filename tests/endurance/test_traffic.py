"""The soak's callers: so many a second, and never a crowd to make up for a moment in which they could not run."""

from __future__ import annotations

import random

import pytest

from ai_client.testing import FakeClock
from endurance.traffic import Traffic
from tests.virtual import run_virtually


@pytest.mark.parametrize(("stalled", "skipped"), [(0, 0), (0.9, 0), (20, 200)])
def test_what_a_stalled_machine_left_out_does_not_come_at_once(
    monkeypatch: pytest.MonkeyPatch, stalled: float, skipped: int
) -> None:
    async def scenario(clock: FakeClock) -> None:
        traffic = Traffic("h", 1, 10.0, random.Random(1))
        calls = 0

        async def call() -> None:
            nonlocal calls
            calls += 1
            if calls == 50:
                clock.advance_ns(int(stalled * 1e9))

        monkeypatch.setattr(traffic, "_call", call)
        await traffic.run(30)
        assert calls + traffic.skipped == 300
        assert abs(traffic.skipped - skipped) <= 3

    run_virtually(scenario)
