"""All targets' health: found by name, bounded, set by the configuration."""

from __future__ import annotations

import random

from ai_client.config.guard import Guard
from ai_client.routing.breaker import Outcome, State
from ai_client.routing.health import MOST_TARGETS, Health, TargetHealth
from ai_client.testing import FakeClock


def trip(target: TargetHealth) -> None:
    for _ in range(20):
        target.breaker.settle(target.breaker.admit(0), Outcome.BAD, 0)


def test_each_target_has_its_own_and_keeps_it() -> None:
    changed: list[str] = []
    health = Health(FakeClock(), random.Random(1), lambda target: changed.append(target.name))
    one = health.of("p/m", "p")
    assert health.of("p/m", "p") is one
    trip(one)
    assert health.of("p/n", "p").breaker.state is State.CLOSED
    assert health.states() == {"p/m": "open", "p/n": "closed"}
    assert changed == ["p/m"]


def test_names_without_end_share_one() -> None:
    health = Health(FakeClock(), random.Random(1))
    kept = [health.of(f"p/{number}", "p") for number in range(MOST_TARGETS)]
    others = {id(health.of(f"p/x{number}", "p")) for number in range(50)}
    assert len(others) == 1
    assert len(health.targets) == MOST_TARGETS + 1
    assert health.of("p/0", "p") is kept[0]
    trip(health.of("p/another", "p"))  # nobody has to hear of it
    assert health.states()["p"] == "open"


def test_a_circuit_is_closed_until_it_is_known_to_be_open() -> None:
    health = Health(FakeClock(), random.Random(1))
    assert health.closed("p/m")
    trip(health.of("p/m", "p"))
    trip(health.of("q", "q"))
    assert [health.closed(name) for name in ("p/m", "p/n", "q/x")] == [False, True, False]


def test_retries_are_allowed_by_the_target_s_budget() -> None:
    health = Health(FakeClock(), random.Random(1))
    health.set(Guard(retry_floor=1))
    assert all(health.allow_retry("p/m") for _ in range(50)), "nothing is known of it"
    health.of("p/m", "p")
    assert [health.allow_retry("p/m") for _ in range(2)] == [True, False]


def test_new_settings_begin_anew_and_the_same_ones_do_not() -> None:
    health = Health(FakeClock(), random.Random(1))
    trip(health.of("p/m", "p"))
    health.set(Guard())
    assert health.states() == {"p/m": "open"}
    health.set(Guard(slow_seconds=2.5, slow_percent=30.0, probes=7))
    assert health.states() == {}
    assert (health.breakers.slow_ns, health.breakers.slow_rate, health.breakers.probes) == (2_500_000_000, 0.3, 7)
