"""What may be spent in a day."""

from __future__ import annotations

import random

import pytest

from ai_client.clock import local_day, next_local_day_ns
from ai_client.cost.base import Entry
from ai_client.cost.budget import ALL, Budgets
from ai_client.errors import BudgetExceededError, RateLimitedError
from ai_client.testing import FakeClock

NOW = FakeClock().unix_ns()
TOMORROW = next_local_day_ns(NOW)


def budgets(total: int | None = None, *rows: Entry, **apps: int) -> Budgets:
    made = Budgets(lambda since, until: [row for row in rows if since <= row.day <= until])
    made.set(total, apps, NOW)
    return made


def row(day: str, app: str, nano: int) -> Entry:
    return Entry(day, app, "", "m", "p/m", cost_nano=nano)


def test_without_any_nobody_need_ask() -> None:
    assert not budgets().on
    assert budgets(1).on
    assert budgets(a=1).on


def test_an_estimate_is_set_aside_and_settled_to_the_nano_dollar() -> None:
    made = budgets(100, a=50)
    first = made.reserve("a", 30, NOW)
    assert made.accounts["a"].reserved == made.accounts[ALL].reserved == 30
    first.settle(7)
    for name in ("a", ALL):
        assert (made.accounts[name].spent, made.accounts[name].reserved) == (7, 0)
    made.reserve("b", 93, NOW).settle(93)  # an app without a budget of its own spends of all
    assert made.accounts[ALL].spent == 100


def test_what_does_not_fit_waits_for_the_next_day() -> None:
    made = budgets(a=50)
    made.reserve("a", 50, NOW).settle(20)
    with pytest.raises(BudgetExceededError, match=r"the app 'a', 0\.00000005 USD a day") as caught:
        made.reserve("a", 31, NOW)
    assert caught.value.retry_after == pytest.approx((TOMORROW - NOW) / 1e9)
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (429, "budget_exceeded", False)
    assert made.accounts["a"].refused == 1
    made.reserve("a", 30, NOW)


def test_what_only_calls_under_way_have_reserved_may_come_free() -> None:
    made = budgets(50)
    made.reserve("a", 40, NOW)
    with pytest.raises(RateLimitedError, match="reserved by calls under way") as caught:
        made.reserve("a", 20, NOW)
    assert not isinstance(caught.value, BudgetExceededError)
    assert caught.value.retry_after == 1.0


def test_a_refusal_sets_nothing_aside() -> None:
    made = budgets(10, a=100)
    with pytest.raises(BudgetExceededError, match="of this daemon"):
        made.reserve("a", 11, NOW)
    assert made.accounts["a"].reserved == 0


def test_the_free_passes_always_and_the_unpriced_while_anything_is_left() -> None:
    made = budgets(10)
    made.reserve("a", None, NOW).settle(0)
    made.reserve("a", 10, NOW).settle(12)  # dearer than it was thought
    made.reserve("a", 0, NOW)
    for nano in (None, 1):
        with pytest.raises(BudgetExceededError):
            made.reserve("a", nano, NOW)


def test_a_restart_begins_with_what_the_ledger_has_for_today() -> None:
    today, yesterday = local_day(NOW), local_day(NOW - 86_400 * 10**9)
    made = budgets(1000, row(today, "a", 30), row(today, "b", 12), row(yesterday, "a", 500), a=100, c=100)
    assert {name: account.spent for name, account in made.accounts.items()} == {ALL: 42, "a": 30, "c": 0}


def test_the_next_day_begins_anew_and_yesterdays_calls_do_not_count_in_it() -> None:
    made = budgets(50)
    late = made.reserve("a", 50, TOMORROW - 1)
    with pytest.raises(RateLimitedError):
        made.reserve("a", 1, TOMORROW - 1)
    early = made.reserve("a", 50, TOMORROW)
    late.settle(50)
    assert (made.accounts[ALL].spent, made.accounts[ALL].reserved) == (0, 50)
    early.settle(49)
    assert made.accounts[ALL].spent == 49


def test_a_reload_changes_the_limits_and_keeps_what_was_spent() -> None:
    made = budgets(50, a=10)
    held = made.reserve("a", 10, NOW)
    made.set(100, {"b": 5}, NOW)
    held.settle(10)
    assert set(made.accounts) == {ALL, "b"}
    assert (made.accounts[ALL].limit, made.accounts[ALL].spent, made.accounts[ALL].reserved) == (100, 10, 0)
    made.set(None, {}, NOW)
    assert not made.on


def test_a_day_is_found_at_any_moment() -> None:
    chance = random.Random(7)
    for _ in range(500):
        moment = chance.randrange(0, 4_000_000_000) * 10**9
        end = next_local_day_ns(moment)
        assert local_day(end - 1) == local_day(moment) != local_day(end)
        assert moment < end


def test_what_can_be_left_undone_is_held_only_where_there_is_enough_and_refuses_nobody() -> None:
    made = budgets(100, a=50)
    held = made.spare("a", 50, NOW)
    assert held is not None
    assert made.spare("a", 1, NOW) is None
    assert made.spare("b", 51, NOW) is None
    assert made.spare("b", None, NOW) is not None, "what has no price fits while anything is left"
    held.settle(0)
    assert (made.accounts["a"].reserved, made.accounts["a"].spent, made.accounts["a"].refused) == (0, 0, 0)
    assert made.spare("a", 50, TOMORROW) is not None
    assert (made.accounts["a"].reserved, made.accounts[ALL].refused) == (50, 0)
