"""Calls given up everywhere on their way leave nothing behind: 2,000 of them here, 100,000 by `make cancellations`."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.build import build
from endurance.cancellations import POINTS, LeakError, _settled, left, table
from endurance.cancellations import run as storm_of
from tests.gateway import configured, opened
from tests.running import Run

CANCELLATIONS = 2000


def test_nothing_is_left_behind_wherever_a_call_is_given_up(run: Run, tmp_path: Path) -> None:
    storm = run(storm_of(CANCELLATIONS, tmp_path, 1))
    assert storm.struck.total() >= CANCELLATIONS
    often = {"before the first byte", "waiting for quota", "waiting for a connection", "connecting"}
    often |= {"in the middle of a stream", "waiting for a retry", "waiting for an equal call"}
    assert often <= storm.struck.keys() <= set(POINTS.values())
    assert storm.later
    assert storm.ends["answered"]
    assert f"| all | {storm.struck.total()} |" in table(storm)


def test_what_is_left_behind_is_found(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with opened(tmp_path) as shared:
            service = build(configured(tmp_path), shared)
            assert left(service, shared) == {}
            shared.quota.providers["holysheep"]._running += 1
            with pytest.raises(LeakError, match="reservations': 1"):
                await _settled(lambda: left(service, shared), 0.0)

    run(scene())
