"""Luck that depends on the seed and on what is asked, and on nothing else."""

from __future__ import annotations

import math
from statistics import mean, median, pstdev

import pytest

from ai_client.simulator.chance import Chance, Occurrences, Pace, lognormal_table, luck, quantile


def test_the_same_seed_and_parts_give_the_same_digest() -> None:
    assert Chance(1).digest(b"a") == Chance(1).digest(b"a")
    assert Chance(1).digest(b"a", b"b") == Chance(1).digest(b"a", b"b")
    assert len({Chance(1).digest(b"a"), Chance(2).digest(b"a"), Chance(1).digest(b"b")}) == 3


def test_parts_do_not_run_together() -> None:
    assert Chance(1).digest(b"ab", b"c") != Chance(1).digest(b"a", b"bc")


def test_uniform_and_normal_have_their_shapes() -> None:
    chance = Chance(3)
    uniform = [chance.uniform(b"u", bytes([i, j])) for i in range(64) for j in range(64)]
    normal = [chance.normal(b"n", bytes([i, j])) for i in range(64) for j in range(64)]
    assert all(0 <= x < 1 for x in uniform)
    assert abs(mean(uniform) - 0.5) < 0.02
    assert abs(mean(normal)) < 0.06
    assert abs(pstdev(normal) - 1) < 0.05


def test_the_draws_of_a_digest_are_its_four_quarters() -> None:
    draws = luck(bytes(range(32)))
    assert draws.first == int.from_bytes(bytes(range(8)), "little")
    assert draws.text == int.from_bytes(bytes(range(24, 32)), "little")


def test_quantile() -> None:
    assert quantile(0.5) == 0
    assert quantile(1) == math.inf
    assert quantile(0) == -math.inf
    assert quantile(0.975) == pytest.approx(1.96, abs=0.01)


def test_occurrences_count_and_forget_the_oldest() -> None:
    seen = Occurrences(limit=2)
    assert [seen.count(b"a"), seen.count(b"a"), seen.count(b"b")] == [0, 1, 0]
    assert seen.before(b"a") == 2
    seen.count(b"c")  # a was counted longest ago
    assert [seen.before(b"a"), seen.before(b"b"), seen.before(b"c")] == [0, 1, 1]


def test_a_lognormal_table_has_its_median_and_its_tail() -> None:
    table = lognormal_table(1_000_000, 0.5)
    assert table == sorted(table)
    assert median(table) == pytest.approx(1_000_000, rel=0.01)
    assert table[int(len(table) * 0.95)] == pytest.approx(1_000_000 * math.exp(0.5 * 1.645), rel=0.01)
    assert max(table) > 5_000_000  # heavy
    assert lognormal_table(40, 0) == [40]


def test_the_whole_delay_is_that_of_the_stream() -> None:
    pace = Pace(lognormal_table(1e8, 0.5), lognormal_table(1e7, 0.6), 1_000)
    draws = luck(Chance(1).digest(b"x"))
    for tokens in (1, 2, 100, 5_000, 9_000):
        schedule = pace.schedule(draws, tokens)
        assert len(schedule) == tokens
        assert schedule[0] == 0
        assert schedule == sorted(schedule)
        assert schedule[-1] == pace.total_ns(draws, tokens)
    assert pace.first_ns(draws, 10) == pace.first_ns(draws, 0) + 10_000


def test_a_fixed_pace_and_none() -> None:
    draws = luck(Chance(1).digest(b"x"))
    fixed = Pace([40], [50], 0)
    assert (fixed.first_ns(draws, 0), fixed.schedule(draws, 3)) == (40, [0, 50, 100])
    assert not fixed.instant
    assert Pace([0], [0], 0).instant
    assert not Pace([0], [0], 1).instant
