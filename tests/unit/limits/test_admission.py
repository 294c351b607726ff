"""Who is let in, who is not, and when to come back."""

from __future__ import annotations

import pytest

from ai_client.config.guard import Admission as Settings
from ai_client.errors import OverloadedError
from ai_client.limits.admission import Admission
from ai_client.testing import FakeClock

MIB = 1 << 20


class Door:
    def __init__(self, **settings: float) -> None:
        self.wait: float | None = None
        self.clock = FakeClock(monotonic_ns=10**15)
        self.admission = Admission(self.clock)
        self.admission.set(Settings(**settings))  # type: ignore[arg-type]

    def lets_in(self, in_flight: int, held: int = 0, size: int = 0, priority: int = 10) -> bool:
        try:
            self.admission.admit(in_flight, held, size, priority)
        except OverloadedError as error:
            self.wait = error.retry_after
            return False
        return True


def test_without_a_bound_nobody_need_ask() -> None:
    admission = Admission(FakeClock())
    assert admission.set(Settings()) is None
    assert admission.set(Settings(max_in_flight=1)) is admission
    assert admission.set(Settings(max_memory_mb=1)) is admission


def test_calls_are_bounded() -> None:
    door = Door(max_in_flight=3)
    assert door.lets_in(2, held=10**12)
    assert not door.lets_in(3)
    assert door.admission.shed == {10: 1}


def test_so_are_the_bytes_of_their_bodies() -> None:
    door = Door(max_memory_mb=1)
    assert door.lets_in(10**6, held=MIB // 2, size=MIB // 2)
    assert not door.lets_in(1, held=MIB // 2, size=MIB // 2 + 1)


@pytest.mark.parametrize(("priority", "room"), [(1, 50), (5, 72), (10, 100), (-3, 50), (99, 100)])
def test_the_low_priorities_have_the_smaller_part(priority: int, room: int) -> None:
    calls, octets = Door(max_in_flight=100), Door(max_memory_mb=100)
    assert calls.lets_in(room - 1, priority=priority)
    assert not calls.lets_in(room, priority=priority)
    assert octets.lets_in(9, (room - 1) * MIB, MIB, priority)
    assert not octets.lets_in(9, (room + 1) * MIB, 0, priority)


def test_who_comes_alone_is_let_in_however_small_the_bound() -> None:
    door = Door(max_in_flight=1, max_memory_mb=1)
    assert door.lets_in(0, held=0, size=5 * MIB, priority=1)


def test_when_to_come_back_is_when_those_before_could_be_answered() -> None:
    door = Door(max_in_flight=10)
    door.lets_in(0)
    assert not door.lets_in(10)
    assert door.wait == 1, "at least a second"
    for _ in range(9):
        door.lets_in(0)
    door.clock.advance(5)
    for _ in range(20):
        door.lets_in(10)
    assert door.wait == pytest.approx(21 * 5 / 10)
    for _ in range(1000):
        door.lets_in(10)
    assert door.wait == 60, "at most a minute"


def test_what_is_past_fades() -> None:
    door = Door(max_in_flight=10)
    for _ in range(10):
        door.lets_in(0)
    for _ in range(40):
        door.lets_in(10)
    door.clock.advance(15)
    door.lets_in(10)
    assert door.wait == pytest.approx(21 * 5 / 5), "half of both, as if of the last five seconds"
    door.clock.advance(60)
    door.lets_in(0)
    door.lets_in(10)
    assert door.wait == 1


def test_memory_is_bounded_and_low_priorities_have_less_of_it() -> None:
    door = Door(max_rss_mb=100)
    admission = door.admission
    assert admission.max_resident == 100 * MIB
    assert door.lets_in(5, priority=1)
    admission.resident = 60 * MIB
    assert bool(admission.tight)
    assert not door.lets_in(5, priority=1)
    assert door.lets_in(0, priority=1), "with nothing under way, waiting would make no room"
    assert door.lets_in(5, size=40 * MIB, priority=10)
    assert not door.lets_in(5, size=41 * MIB, priority=10)
    admission.resident = 101 * MIB
    assert not door.lets_in(5, priority=10)
    assert admission.set(Settings()) is None
    admission.resident = 1 << 50
    assert door.admission.tight is False
    assert admission.set(Settings(max_rss_mb=1)) is admission
