"""Counts that are forgotten after a while."""

from __future__ import annotations

from ai_client.routing.window import Window


def test_what_is_older_than_the_span_is_forgotten_tenth_by_tenth() -> None:
    window = Window(1000, 2)
    window.add(0, 0)
    window.add(150, 1)
    window.add(150, 1)
    assert window.sums == [1, 2]
    window.forget(999)
    assert window.sums == [1, 2]
    window.forget(1000)
    assert window.sums == [0, 2]
    window.forget(1099)
    assert window.sums == [0, 2]
    window.forget(1100)
    assert window.sums == [0, 0]


def test_a_long_silence_forgets_everything_at_once() -> None:
    window = Window(1000, 1)
    for now in range(0, 1000, 50):
        window.add(now, 0)
    assert window.sums == [20]
    window.add(10**15, 0)
    assert window.sums == [1]


def test_it_can_be_cleared() -> None:
    window = Window(1000, 1)
    window.add(500, 0)
    window.clear()
    assert window.sums == [0]
    window.forget(1500)
    assert window.sums == [0], "nor is it subtracted later"


def test_a_span_of_nothing_is_a_span() -> None:
    window = Window(0, 1)
    window.add(7, 0)
    assert window.sums == [1]
