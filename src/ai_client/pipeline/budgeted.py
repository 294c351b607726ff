"""Money: an estimate set aside before a call, settled by what all of its attempts cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ai_client.cost.budget import Budgets, Held
from ai_client.cost.meter import estimate_nano
from ai_client.cost.prices import Price
from ai_client.limits.estimate import Habits
from ai_client.model.call import Call, Target
from ai_client.model.record import Record
from ai_client.model.reply import Reply, StreamEnd
from ai_client.pipeline.base import PlanStage


class Means:
    """What a call may cost, held against the budgets of the day."""

    __slots__ = ("_budgets", "_habits", "_price")

    def __init__(self, budgets: Budgets, price: Callable[[str], Price | None], habits: Habits) -> None:
        self._budgets = budgets
        self._price = price
        self._habits = habits

    def reserve(self, call: Call, model: str) -> Held:
        """Set aside what it may cost at this model. Raises `BudgetExceededError`."""
        return self._budgets.reserve(call.app, self._estimate(call, model), call.record.unix_ns)

    def spare(self, call: Call, model: str) -> Held | None:
        """The same for a request that can be left undone: None where there is not enough."""
        return self._budgets.spare(call.app, self._estimate(call, model), call.record.unix_ns)

    def _estimate(self, call: Call, model: str) -> int | None:
        if not model:  # passed through: nobody prices that
            return 0
        price = self._price(model)
        if price is None:
            return None
        fields = call.fields
        tokens = self._habits[model].estimate(fields.input_chars, fields.max_output, fields.choices)
        return estimate_nano(price, *tokens)


class Budgeted:
    """Refuses a call that its app, or this daemon, cannot pay for today.

    It stands inside routing, for the price is the first target's, and around fallback: where the money is gone, no
    other target helps. An answer of the cache costs nothing and never comes here.
    """

    __slots__ = ("_inner", "_means")

    def __init__(self, inner: PlanStage, means: Means) -> None:
        self._inner = inner
        self._means = means

    async def __call__(self, call: Call, targets: Sequence[Target]) -> Reply:
        """Reserve, pass on, settle. Raises `BudgetExceededError`."""
        record = call.record
        held = self._means.reserve(call, targets[0].model)
        try:
            reply = await self._inner(call, targets)
        except BaseException:
            held.settle(record.cost_nano)
            raise
        if reply.stream is None:
            held.settle(record.cost_nano)
        else:
            reply.stream.on_end(partial(_settle, held, record))
        return reply


def _settle(held: Held, record: Record, _end: StreamEnd) -> None:
    held.settle(record.cost_nano)
