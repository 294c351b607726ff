"""What an attempt cost: tokens by the provider's count or ours, money in integer nano-dollars."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from ai_client.cost.meter import cost_nano
from ai_client.cost.prices import Price
from ai_client.errors import InvalidRequestError, UpstreamError
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.request import Endpoint
from ai_client.model.usage import BROKEN, CANCELLED, Count, Lost, Usage
from ai_client.pipeline.base import AttemptStage


class Accounted:
    """Prices what each attempt cost. The record's `usage` is that of the attempt which answered; `cost_nano` adds up
    all of them, and `lost` tells of those that were not the answer.

    An attempt that failed is no completion and costs nothing; a stream that broke off costs what came. Who leaves
    before the answer has begun pays for the prompt: it is with the provider. What the provider did not count is
    estimated, and marked so.

    A model without a price is refused, or let through with a warning, as the configuration says; it never silently
    costs nothing.
    """

    __slots__ = ("_estimate", "_inner", "_lookup", "_on_unknown", "_refuse_unknown")

    def __init__(
        self,
        inner: AttemptStage,
        lookup: Callable[[str], Price | None],
        on_unknown: Callable[[str], None],
        estimate: Count,
        *,
        refuse_unknown: bool,
    ) -> None:
        """`lookup(model)` gives its price; `on_unknown(model)` hears of each answer that could not be priced;
        `estimate` counts what nobody did: the prompt, and what had come, of an answer that nobody got.
        """
        self._inner = inner
        self._lookup = lookup
        self._on_unknown = on_unknown
        self._estimate = estimate
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
        try:
            reply = await self._inner(attempt)
        except asyncio.CancelledError:
            record = attempt.call.record
            came, record.came = record.came, 0
            if attempt.call.endpoint is not Endpoint.OTHER:  # of what passes through, nobody knows what costs
                self._lose(attempt, price, came, CANCELLED)
            raise
        except UpstreamError as error:
            if error.came:
                self._lose(attempt, price, error.came, BROKEN)
            raise
        if reply.stream is None:
            self._count(attempt, price, reply.usage)
        else:
            reply.stream.on_end(partial(self._stream_ended, attempt, price))
        return reply

    def _stream_ended(self, attempt: Attempt, price: Price | None, end: StreamEnd) -> None:
        self._count(attempt, price, end.usage)

    def _count(self, attempt: Attempt, price: Price | None, usage: Usage) -> None:
        attempt.call.record.book(attempt.target.name, usage, self._cost(attempt, price, usage))

    def _lose(self, attempt: Attempt, price: Price | None, came: int, why: str) -> None:
        """The prompt, and so many characters of an answer that nobody got."""
        target = attempt.target
        usage = self._estimate(target.model, attempt.call.fields, came)
        nano = self._cost(attempt, price, usage)
        attempt.call.record.lose(Lost(target.name, target.model, usage, nano, why))

    def _cost(self, attempt: Attempt, price: Price | None, usage: Usage) -> int:
        if price is not None:
            return cost_nano(price, usage)
        if usage.total_tokens:
            attempt.call.record.unpriced = True
            self._on_unknown(attempt.target.model)
        return 0
