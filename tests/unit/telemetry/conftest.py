from __future__ import annotations

import pytest

from tests.unit.telemetry.hands import HandClock, HandLoop


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def loop() -> HandLoop:
    return HandLoop()
