"""A clock to move by hand."""

from __future__ import annotations

import pytest

from ai_client.testing import FakeClock


def test_it_stands_still_until_it_is_moved() -> None:
    clock = FakeClock()
    begun = clock.monotonic_ns(), clock.unix_ns()
    assert (clock.monotonic_ns(), clock.unix_ns()) == begun
    clock.advance(1.5)
    clock.advance_ns(7)
    assert (clock.monotonic_ns() - begun[0], clock.unix_ns() - begun[1]) == (1_500_000_007, 1_500_000_007)


def test_it_begins_where_it_is_told() -> None:
    clock = FakeClock(5, 3)
    assert (clock.unix_ns(), clock.monotonic_ns()) == (5, 3)


def test_it_does_not_run_back() -> None:
    with pytest.raises(ValueError, match="does not run back"):
        FakeClock().advance(-1)
