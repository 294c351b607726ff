"""The arithmetic behind the figures of a fleet's quota."""

from __future__ import annotations

import pytest

from bench.quota.arrivals import arrivals, cost, dealt, possible
from bench.quota.rows import SCENES, _done, _never
from bench.quota.scene import CALL_TOKENS, Answered, Outcome, Scene
from bench.quota.servers import ahead
from bench.report import MET_MUST, MISSED

SCENE = Scene(3000, 600_000, 2.0, 50, 60.0, trace=True, patience=60.0)


def test_what_comes_as_it_accrues_is_never_ahead() -> None:
    assert ahead([0.0, 1.0, 2.0, 4.0], [0, 50, 100, 200], 50.0) == 0.0


def test_a_burst_is_ahead_by_the_time_in_which_it_accrues() -> None:
    # 100 at once, of 50 a second, less the second in which they came; a pause before it earns nothing
    assert ahead([0.0, 10.0, 11.0], [0, 0, 100], 50.0) == pytest.approx(1.0)


def test_bursts_add_up_until_the_rate_has_caught_up() -> None:
    assert ahead([0.0, 1.0, 2.0, 3.0], [0, 100, 150, 250], 50.0) == pytest.approx(2.0)
    assert ahead([0.0, 1.0, 3.0, 4.0], [0, 100, 100, 200], 50.0) == pytest.approx(1.0)


def test_the_trace_brings_the_demand_in_the_time_there_is() -> None:
    found = arrivals(SCENE)
    asked = sum(cost(SCENE, context + generated) for _, context, generated in found)
    assert asked == pytest.approx(SCENE.demand * SCENE.seconds, rel=0.02)
    moments = [at for at, _, _ in found]
    assert moments == sorted(moments)
    assert moments[0] == 0.0
    assert moments[-1] == pytest.approx(SCENE.seconds)


def test_every_arrival_is_dealt_once() -> None:
    found = arrivals(SCENE)
    members = dealt(found, 7)
    assert sorted(each for member in members for each in member) == sorted(found)
    assert max(map(len, members)) - min(map(len, members)) <= 1


def test_what_is_possible_is_no_more_than_all() -> None:
    at_once = [(0.0, 10_000, 0)] * 100  # a second of the limit each
    assert possible(SCENE, at_once) == pytest.approx(1.0)
    assert possible(SCENE, at_once[:35]) == pytest.approx(0.5)
    impatient = Scene(3000, 600_000, 2.0, 50, 60.0, patience=34.5)
    assert possible(impatient, at_once) == pytest.approx(0.5)


def test_a_call_costs_what_is_scarcer() -> None:
    assert cost(SCENE, CALL_TOKENS) == pytest.approx(0.02)
    assert cost(SCENE, 20_000) == pytest.approx(2.0)


def test_jain_knows_equal_from_unequal() -> None:
    assert Outcome(SCENE, by_member=[5, 5, 5, 5]).jain == 1.0
    assert Outcome(SCENE, by_member=[20, 0, 0, 0]).jain == 0.25
    assert Outcome(SCENE).jain == 0.0


def test_over_the_limit_is_a_429_or_more_than_the_published_bound() -> None:
    assert _never("it", Outcome(SCENE, ahead=2.9)).verdict == MET_MUST
    assert _never("it", Outcome(SCENE, ahead=3.1)).verdict == MISSED
    assert _never("it", Outcome(SCENE, ahead=0.0, provider_429=1)).verdict == MISSED


def test_work_counts_when_it_is_done() -> None:
    assert _done(Answered([1.0, 2.0, 9.0], [0.5, 9.0, 0.5]), 0.0, 10.0) == pytest.approx(0.2)


def test_every_scene_has_a_name() -> None:
    assert {"busy", "seeds", "trace", "fairness", "fairness-seeds", "killed", "cut", "hot"} <= set(SCENES)
