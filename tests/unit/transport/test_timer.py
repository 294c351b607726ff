"""The lazy timer on a loop whose time the test holds in its hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from ai_client.transport.timer import NEVER, LazyTimer


class Handle:
    """What `call_at` returns."""

    def __init__(self, due: float, callback: Callable[[], None]) -> None:
        self.due = due
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """Time stands still until `pass_to`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handles: list[Handle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, due: float, callback: Callable[[], None]) -> Handle:
        self.handles.append(Handle(due, callback))
        return self.handles[-1]

    @property
    def pending(self) -> list[Handle]:
        return [handle for handle in self.handles if not handle.cancelled]

    def pass_to(self, now: float, early: float = 0.0) -> None:
        while ready := [handle for handle in self.pending if handle.due <= now]:
            handle = min(ready, key=lambda handle: handle.due)
            self.handles.remove(handle)
            self.now = handle.due - early
            handle.callback()
        self.now = now


def timer() -> tuple[Loop, LazyTimer, list[float]]:
    loop = Loop()
    fired: list[float] = []
    made = LazyTimer(cast("asyncio.AbstractEventLoop", cast("Any", loop)), lambda: fired.append(loop.now))
    return loop, made, fired


def test_it_fires_once_when_due() -> None:
    loop, lazy, fired = timer()
    lazy.set(5.0)
    loop.pass_to(4.9)
    assert fired == []
    loop.pass_to(100.0)
    assert fired == [5.0]
    assert lazy.due == NEVER


def test_moving_it_further_off_costs_no_timer() -> None:
    loop, lazy, fired = timer()
    for due in range(5, 50):
        lazy.set(float(due))
        assert len(loop.handles) == 1
    loop.pass_to(48.0)
    assert fired == []
    assert len(loop.pending) == 1
    loop.pass_to(49.0)
    assert fired == [49.0]


def test_moving_it_nearer_replaces_the_timer() -> None:
    loop, lazy, fired = timer()
    lazy.set(50.0)
    lazy.set(5.0)
    assert [handle.due for handle in loop.pending] == [5.0]
    loop.pass_to(100.0)
    assert fired == [5.0]


def test_never_turns_it_off_and_it_can_be_set_again() -> None:
    loop, lazy, fired = timer()
    lazy.set(5.0)
    lazy.set(NEVER)
    loop.pass_to(10.0)
    assert fired == []
    assert loop.pending == []
    lazy.set(12.0)
    loop.pass_to(12.0)
    assert fired == [12.0]


def test_a_deadline_already_past_fires_at_the_next_turn() -> None:
    loop, lazy, fired = timer()
    loop.now = 7.0
    lazy.set(5.0)
    loop.pass_to(7.0)
    assert len(fired) == 1


def test_a_loop_that_wakes_a_hair_early_does_not_make_it_spin() -> None:
    loop, lazy, fired = timer()
    lazy.set(5.0)
    loop.pass_to(5.0, early=0.0009)
    assert len(fired) == 1


def test_closing_it_is_final() -> None:
    loop, lazy, fired = timer()
    lazy.close()  # without ever having been set
    lazy.set(5.0)
    lazy.close()
    loop.pass_to(10.0)
    lazy.set(11.0)  # by somebody who has not heard
    loop.pass_to(20.0)
    assert fired == []
