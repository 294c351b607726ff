"""What an attempt cost: tokens by the provider's count, money in integer nano-dollars."""

from __future__ import annotations

from collections.abc import Callable

from ai_client.cost.meter import cost_nano
from ai_client.cost.prices import Price
from ai_client.errors import InvalidRequestError
from ai_client.model.call import Attempt
from ai_client.model.record import Record
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.usage import Usage
from ai_client.pipeline.base import AttemptStage


class Accounted:
    """Prices what the provider counted. A stream that broke off is billed for what came.

    A model without a price is refused, or let through with a warning, as the configuration says; it never silently
    costs nothing.
    """

    __slots__ = ("_inner", "_lookup", "_on_unknown", "_refuse_unknown")

    def __init__(
        self,
        inner: AttemptStage,
        lookup: Callable[[str], Price | None],
        on_unknown: Callable[[str], None],
        *,
        refuse_unknown: bool,
    ) -> None:
        """`lookup(model)` gives its price; `on_unknown(model)` hears of each answer that could not be priced."""
        self._inner = inner
        self._lookup = lookup
        self._on_unknown = on_unknown
        self._refuse_unknown = refuse_unknown

    async def __call__(self, attempt: Attempt) -> Reply:
        """Pass on, then count."""
        model = attempt.target.model
        price = self._lookup(model)
        if price is None and self._refuse_unknown and model:
            raise InvalidRequestError(
                f"the model {model!r} has no price: add it to [model_costs], or set unknown_price = warn in [costs]",
                param="model",
            )
        reply = await self._inner(attempt)
        record = attempt.call.record
        if reply.stream is None:
            self._count(record, model, price, reply.usage)
        else:
            reply.stream.on_end(lambda end: self._stream_ended(record, model, price, end))
        return reply

    def _stream_ended(self, record: Record, model: str, price: Price | None, end: StreamEnd) -> None:
        self._count(record, model, price, end.usage)

    def _count(self, record: Record, model: str, price: Price | None, usage: Usage) -> None:
        record.usage = usage
        if price is not None:
            record.cost_nano += cost_nano(price, usage)
        elif usage.total_tokens:
            self._on_unknown(model)
