"""A budget holds, however calls overlap: what was set aside and spent never exceeds it, and nothing is lost or left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_client.cost.budget import ALL, Budgets, Held
from ai_client.errors import RateLimitedError
from ai_client.testing import FakeClock

NOW = FakeClock().unix_ns()
APPS = st.sampled_from(["a", "b", "c"])
Step = tuple[str, int, int, bool]
STEPS = st.lists(st.tuples(APPS, st.integers(0, 60), st.integers(0, 100), st.booleans()), max_size=60)


@given(st.integers(0, 200), st.integers(0, 200), STEPS)
def test_no_order_of_calls_spends_more_than_there_is(total: int, own: int, steps: list[Step]) -> None:
    """Each step asks for a call's estimate, and may end the oldest that is under way, at a part of its estimate."""
    budgets = Budgets(lambda since, until: ())
    budgets.set(total, {"a": own}, NOW)
    under_way: list[tuple[Held, int]] = []
    spent = 0
    for app, nano, percent, ends in steps:
        try:
            under_way.append((budgets.reserve(app, nano, NOW), nano))
        except RateLimitedError:
            account = budgets.accounts[ALL]
            full = account.spent + account.reserved + nano > total
            mine = budgets.accounts["a"]
            assert full or (app == "a" and mine.spent + mine.reserved + nano > own)
        for account in budgets.accounts.values():
            assert account.spent + account.reserved <= account.limit
        if ends and under_way:
            held, estimate = under_way.pop(0)
            held.settle(estimate * percent // 100)
            spent += estimate * percent // 100
    for held, estimate in under_way:
        held.settle(estimate)
        spent += estimate
    assert (budgets.accounts[ALL].spent, budgets.accounts[ALL].reserved) == (spent, 0)
