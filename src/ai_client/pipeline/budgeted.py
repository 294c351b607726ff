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


class Budgeted:
    """Refuses a call that its app, or this daemon, cannot pay for today.

    It stands inside routing, for the price is the first target's, and around fallback: where the money is gone, no
    other target helps. An answer of the cache costs nothing and never comes here.
    """

    __slots__ = ("_budgets", "_habits", "_inner", "_price")

    def __init__(
        self, inner: PlanStage, budgets: Budgets, price: Callable[[str], Price | None], habits: Habits
    ) -> None:
        self._inner = inner
        self._budgets = budgets
        self._price = price
        self._habits = habits

    async def __call__(self, call: Call, targets: Sequence[Target]) -> Reply:
        """Reserve, pass on, settle. Raises `BudgetExceededError`."""
        record = call.record
        held = self._budgets.reserve(call.app, self._estimate(call, targets[0].model), record.unix_ns)
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

    def _estimate(self, call: Call, model: str) -> int | None:
        if not model:  # passed through: nobody prices that
            return 0
        price = self._price(model)
        if price is None:
            return None
        fields = call.fields
        tokens = self._habits[model].estimate(fields.input_chars, fields.max_output, fields.choices)
        return estimate_nano(price, *tokens)


def _settle(held: Held, record: Record, _: StreamEnd) -> None:
    held.settle(record.cost_nano)
