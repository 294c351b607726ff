"""Estimates: before anything was learned, and after."""

from __future__ import annotations

import random

import pytest

from ai_client.limits.estimate import Habit, Habits
from ai_client.model.request import Fields
from ai_client.model.usage import Usage


@pytest.mark.parametrize(
    ("chars", "bound", "choices", "tokens"),
    [(40, 10, 1, (10, 10)), (43, 0, 1, (10, 256)), (0, 10**15, 1, (0, 32_768)), (40, 10, 3, (10, 30))],
)
def test_the_estimate_of_a_beginner(chars: int, bound: int, choices: int, tokens: tuple[int, int]) -> None:
    habit = Habit()
    assert habit.estimate(chars, bound, choices) == tokens


def test_the_first_answer_sets_the_ratio() -> None:
    habit = Habit()
    habit.learn(1000, True, 1, 500, 10)
    assert habit.estimate(2000, 0, 1) == (1000, 256), "an answer that was bounded says nothing of others"


def test_a_count_is_without_headroom_and_rounded_up() -> None:
    habits = Habits()
    assert habits.count("m", Fields("m", input_chars=41), 9) == Usage(11, 3, estimated=True)
    habit = habits["m"]
    habit.learn(1000, True, 1, 500, 10)
    habit.learn(1000, True, 1, 900, 10)
    assert habit.tokens(1000) == 525, "(8,000 - 500 + 900) / (16,000 - 1,000 + 1,000)"
    assert habits.count("m", Fields("m", input_chars=1000), 40) == Usage(525, 21, estimated=True)
    bounded = Fields("m", input_chars=1000, max_output=9, choices=2)
    assert habits.count("m", bounded, 40) == Usage(525, 18, estimated=True), "the caller allowed no more"
    assert habit.estimate(1000, 1, 1)[0] > 525


def test_prompts_are_rarely_estimated_too_low() -> None:
    """Lengths over two decades, ten tokens of overhead, a spread of 15 %."""
    rng = random.Random(1)
    habit = Habit()
    low = total = real = 0
    for number in range(2000):
        chars = int(10 ** rng.uniform(2, 4))
        tokens = 10 + int(chars * 0.3 * rng.uniform(0.85, 1.15))
        if number >= 200:
            estimate = habit.estimate(chars, 1, 1)[0]
            low += estimate < tokens
            total += estimate
            real += tokens
        habit.learn(chars, True, 1, tokens, 1)
    assert low < 1800 * 0.45
    assert 1.0 < total / real < 1.25, "and not much too high"


def test_nine_answers_in_ten_are_within_the_estimate() -> None:
    rng = random.Random(2)
    habit = Habit()
    within = 0
    for number in range(4000):
        tokens = int(rng.lognormvariate(5, 0.6))
        if number >= 1000:
            within += tokens <= habit.estimate(0, 0, 1)[1]
        habit.learn(10, False, 1, 5, tokens)
    assert 0.84 < within / 3000 < 0.96


def test_what_was_not_counted_teaches_nothing() -> None:
    habit = Habit()
    habit.learn(0, False, 1, 5, 0)
    habit.learn(100, False, 1, 0, 0)
    assert habit.estimate(40, 0, 1) == (10, 256)


def test_each_model_has_habits_of_its_own_and_their_number_is_bounded() -> None:
    habits = Habits()
    assert habits["a"] is habits["a"]
    assert habits["a"] is not habits["b"]
    for number in range(2000):
        habits[f"m{number}"].skip = 0
    assert habits["m1999"] is not habits["m1999"]
    assert habits["a"] is habits["a"]


def test_after_many_answers_one_in_eight_teaches() -> None:
    habit = Habit()
    for _ in range(64):
        habit.learn(10, True, 1, 5, 5)
        assert habit.skip == 0
    habit.learn(10, True, 1, 5, 5)
    assert habit.skip == 7
