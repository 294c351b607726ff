"""How long what is admitted stays."""

from __future__ import annotations

import random

from ai_client.limits.stays import Stay, Stays
from tests.quotas import who

SECOND = 1_000_000_000


def test_it_finds_the_lower_quartile_and_follows_it_down_and_up() -> None:
    rng, stay = random.Random(1), Stay()
    assert stay.usual_ns(0) == 0
    for number in range(400):
        stay.answered(int(rng.uniform(10, 30) * SECOND), number)
    assert 11 * SECOND < stay.usual_ns(400) < 19 * SECOND
    for number in range(400, 800):
        stay.answered(int(rng.uniform(0.1, 0.3) * SECOND), number)
    assert 0.11 * SECOND < stay.usual_ns(800) < 0.2 * SECOND
    for number in range(800, 1200):
        stay.answered(int(rng.uniform(1, 3) * SECOND), number)
    assert 1.1 * SECOND < stay.usual_ns(1200) < 2 * SECOND


def test_what_was_not_seen_for_long_is_not_known() -> None:
    stay = Stay()
    stay.answered(20 * SECOND, SECOND)
    assert stay.usual_ns(30 * SECOND) == 20 * SECOND
    assert stay.usual_ns(31 * SECOND) == 0
    stay.answered(SECOND, 40 * SECOND)
    assert stay.usual_ns(40 * SECOND) == SECOND


def test_what_keeps_others_out_is_doubted() -> None:
    stay = Stay()
    stay.answered(20 * SECOND, 0)
    for _ in range(400):
        stay.doubted()
    assert stay.usual_ns(0) < 5 * SECOND


def test_one_s_long_answers_say_nothing_about_another_s() -> None:
    stays = Stays()
    stays.of(who(2, "batch")).answered(SECOND, 0)
    assert stays.of(who(2, "batch")).usual_ns(0) == SECOND
    assert stays.of(who(5, "batch")).usual_ns(0) == 0
    for number in range(2000):
        stays.of(who(5, f"a{number}"))
    assert len(stays) == 1000
