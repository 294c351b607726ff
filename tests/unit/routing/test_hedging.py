"""When a call is late, and which may be asked twice."""

from __future__ import annotations

import pytest

from ai_client.model.call import Target
from ai_client.routing.hedging import MOST_TARGETS, HedgeSettings, Hedging

MS = 1_000_000
TARGET = Target("p", "m", "m")


@pytest.mark.parametrize(("models", "covered"), [({"*"}, True), ({"m"}, True), ({"other"}, False)])
def test_models_that_may_be_asked_twice(models: set[str], covered: bool) -> None:
    assert HedgeSettings(models=frozenset(models)).covers("m", 1) == covered
    assert not HedgeSettings(models=frozenset(models), min_priority=3).covers("m", 2)


def test_too_little_is_known_at_first_and_streams_are_apart() -> None:
    hedging = Hedging()
    hedging.set(HedgeSettings(min_samples=3))
    known = hedging.of(TARGET)
    for _ in range(2):
        hedging.learn(known, 100 * MS, stream=False)
    assert hedging.delay_ns(known, stream=False) == 0
    hedging.learn(known, 100 * MS, stream=False)
    assert 100 * MS <= hedging.delay_ns(known, stream=False) < 107 * MS
    assert hedging.delay_ns(known, stream=True) == 0


def test_all_keys_of_a_target_are_known_together() -> None:
    hedging = Hedging()
    assert hedging.of(Target("p", "m", "m", "eu")) is hedging.of(TARGET)


def test_one_who_was_given_up_counts_if_it_was_late_and_only_then() -> None:
    hedging = Hedging()
    known = hedging.of(TARGET)
    hedging.given_up(known, 10**12, stream=False)
    assert known.whole.seen == 0, "nothing is known that it could be later than"
    for _ in range(20):
        hedging.learn(known, 100 * MS, stream=False)
    hedging.given_up(known, 90 * MS, stream=False)
    assert known.whole.seen == 20
    hedging.given_up(known, 200 * MS, stream=False)
    assert known.whole.seen == 21


def test_of_very_many_targets_those_that_come_late_are_known_by_provider() -> None:
    hedging = Hedging()
    for number in range(MOST_TARGETS):
        hedging.of(Target("p", f"m{number}", "m"))
    assert hedging.of(Target("p", "x", "x")) is hedging.of(Target("p", "y", "y"))
    assert len(hedging.targets) == MOST_TARGETS + 1


def test_other_settings_leave_what_was_learned() -> None:
    hedging = Hedging()
    known = hedging.of(TARGET)
    hedging.learn(known, 100 * MS, stream=True)
    hedging.set(HedgeSettings(min_samples=1, share=1.0))
    assert hedging.delay_ns(hedging.of(TARGET), stream=True) > 0
    known.budget.call()
    assert known.budget.take()
