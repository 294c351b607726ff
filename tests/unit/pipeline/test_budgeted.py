"""A call reserves what it may cost, and settles what it cost."""

from __future__ import annotations

from typing import Any

import pytest

from ai_client.cost.budget import ALL, Budgets
from ai_client.cost.prices import Price
from ai_client.errors import BudgetExceededError, ConnectError
from ai_client.limits.estimate import Habits
from ai_client.model.call import Call, Target
from ai_client.model.usage import Usage, by_length
from ai_client.pipeline.accounted import Accounted
from ai_client.pipeline.budgeted import Budgeted, Means
from ai_client.testing import FakeClock, reply
from ai_client.testing.provider import Line, streamed
from tests.calls import TARGET, make_attempt, make_call, make_record, streaming
from tests.running import Run
from tests.unit.pipeline.stages import Inside, read

PRICE = Price(1_000_000, 1_000_000, 1_000_000)
"""One nano-dollar a token; the usual call, of 40 characters and at most 10 tokens, is estimated at 20."""
NOW = FakeClock().unix_ns()


class Scene:
    """The stage around accounting around a script."""

    def __init__(self, limit: int, *script: Line, price: Price | None = PRICE) -> None:
        self.budgets = Budgets(lambda since, until: ())
        self.budgets.set(limit, {}, NOW)
        self.inside = Inside(*script)
        accounted = Accounted(self.inside, lambda model: price, lambda model: None, by_length, refuse_unknown=False)

        async def plan(call: Call, targets: Any) -> Any:
            return await accounted(make_attempt(call, targets[0]))

        self.stage = Budgeted(plan, Means(self.budgets, lambda model: price, Habits()))

    async def ask(self, call: Call | None = None, target: Target = TARGET) -> Any:
        return await self.stage(call or begun(), [target])

    @property
    def account(self) -> tuple[int, int]:
        account = self.budgets.accounts[ALL]
        return account.spent, account.reserved


def begun(**fields: Any) -> Call:
    return make_call(record=make_record(unix_ns=NOW), **fields)


def test_what_it_cost_is_what_is_spent(run: Run) -> None:
    scene = Scene(100, reply(usage=Usage(5, 3)))
    run(scene.ask())
    assert scene.account == (8, 0)


def test_a_call_that_might_not_be_paid_for_is_not_sent(run: Run) -> None:
    scene = Scene(19)
    with pytest.raises(BudgetExceededError):
        run(scene.ask())
    assert not scene.inside.attempts
    assert scene.account == (0, 0)


def test_a_failure_gives_back_what_it_did_not_cost(run: Run) -> None:
    scene = Scene(100, ConnectError("no"))
    with pytest.raises(ConnectError):
        run(scene.ask())
    assert scene.account == (0, 0)


def test_a_stream_settles_at_its_end(run: Run) -> None:
    scene = Scene(100, streamed(b"data: 1\n\n", usage=Usage(5, 6)))

    async def play() -> None:
        answer = await scene.ask(streaming(record=make_record(unix_ns=NOW)))
        assert scene.account == (0, 20)
        await read(answer)
        assert scene.account == (11, 0)

    run(play())


def test_what_has_no_price_passes_and_what_is_passed_through_too(run: Run) -> None:
    scene = Scene(1, reply(), reply(), price=None)
    run(scene.ask())
    run(scene.ask(target=Target("p", "", "")))
    assert scene.account == (0, 0)
