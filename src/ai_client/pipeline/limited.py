"""Quota: reserved before an attempt, settled by what it spent, given back when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from ai_client.clock import Clock
from ai_client.cost.meter import cost_nano
from ai_client.cost.prices import Price
from ai_client.errors import RateLimitedError, RequestError, UpstreamError, UpstreamStatusError
from ai_client.limits.base import NOTHING, Caller, Limiter, Need, Reservation
from ai_client.limits.estimate import Habit, Habits
from ai_client.limits.heed import Heed
from ai_client.limits.pauses import Pauses
from ai_client.limits.scopes import Scope
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.usage import Usage
from ai_client.pipeline.base import AttemptStage

_ANSWERED: Need = (1, 0, 0, 0, 0)  # what a refusal costs: the request


class Quotas(msgspec.Struct, frozen=True):
    """All that is limited. `price` is None where no limit counts money, `heed` where no provider's word counts."""

    providers: Mapping[str, Limiter]
    apps: Mapping[str, Limiter]
    scopes: Sequence[Scope]
    habits: Habits
    pauses: Pauses
    weights: Mapping[str, int]
    price: Callable[[str], Price | None] | None = None
    heed: Heed | None = None


class Limited:
    """Admits an attempt to its user's, tag's, app's, model's and target's limits, as far as there are any.

    A target that said for how long it wants to be left alone (429 with Retry-After) is left alone.
    """

    __slots__ = (
        "_apps",
        "_clock",
        "_habits",
        "_heed",
        "_inner",
        "_pauses",
        "_price",
        "_providers",
        "_scopes",
        "_weights",
    )

    def __init__(self, inner: AttemptStage, quotas: Quotas, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._providers = quotas.providers
        self._apps = quotas.apps
        self._scopes = quotas.scopes
        self._habits = quotas.habits
        self._pauses = quotas.pauses
        self._weights = quotas.weights
        self._price = quotas.price
        self._heed = quotas.heed

    async def __call__(self, attempt: Attempt) -> Reply:
        """Wait for quota, and pass on."""
        call = attempt.call
        target = attempt.target
        habit = self._habits[target.model]
        fields = call.fields
        before, after = habit.estimate(fields.input_chars, fields.max_output, fields.choices)
        need = (1, before, after, before + after, 0 if self._price is None else self._cost(target.model, before, after))
        priority = 0 if attempt.hedge else call.priority  # a second request goes before nobody who waits
        held: list[Reservation] = []
        sent = False
        try:
            if self._pauses.until:
                await self._left_alone(attempt)
            for limiter in self._limiters(attempt):
                reservation: Reservation | None = limiter.try_reserve(need, priority)
                if reservation is None:
                    reservation = await self._queued(limiter, need, attempt)
                held.append(reservation)
            sent = True
            reply = await self._inner(attempt)
            if self._heed is not None and self._heed.due(target):
                self._heed.hear(target, reply.headers, call.record.started_ns + call.record.queue_ns)
        except BaseException as error:
            _failed(held, error, sent=sent)
            self._pause(target.name, error)
            raise
        if reply.stream is None:
            self._settle(held, attempt, habit, reply.usage)
        else:
            reply.stream.on_end(partial(self._stream_ended, held, attempt, habit))
        return reply

    def _limiters(self, attempt: Attempt) -> list[Limiter]:
        """All that this attempt has to pass, the narrowest first."""
        found: list[Limiter] = []
        if self._scopes:
            for scope in self._scopes:
                limiter = scope.find(attempt)
                if limiter is not None:
                    found.append(limiter)
        limiter = self._apps.get(attempt.call.app)
        if limiter is not None:
            found.append(limiter)
        limiter = self._providers.get(attempt.target.key)
        if limiter is not None:
            found.append(limiter)
        if self._heed is not None and self._heed.gates:
            limiter = self._heed.find(attempt.target)
            if limiter is not None:
                found.append(limiter)
        return found

    async def _queued(self, limiter: Limiter, need: Need, attempt: Attempt) -> Reservation:
        call = attempt.call
        if attempt.hedge:
            raise RateLimitedError("nothing is free for a second request, which does not wait")
        caller = Caller(call.priority, call.app, self._weights.get(call.app, 1))
        record = call.record
        outlook = limiter.outlook(need, caller)
        if not record.queue_position:
            record.queue_position, record.queue_expected_ns = outlook.position, outlook.expected_ns
        begun = self._clock.monotonic_ns()
        try:
            return await limiter.reserve(need, caller, call.deadline_ns)
        finally:
            record.queue_ns += self._clock.monotonic_ns() - begun

    async def _left_alone(self, attempt: Attempt) -> None:
        """Wait for the end of the target's pause. Raises `RateLimitedError` at once when that comes too late."""
        call, name = attempt.call, attempt.target.name
        begun = self._clock.monotonic_ns()
        while left := self._pauses.left_ns(name):
            if attempt.hedge or begun + left > call.deadline_ns:
                raise RateLimitedError(
                    f"{name} asked to be left alone for {left / 1e9:.1f} s more, which is beyond the call's deadline",
                    retry_after=left / 1e9,
                )
            try:
                await asyncio.sleep(left / 1e9)
            finally:
                call.record.queue_ns += self._clock.monotonic_ns() - begun
                begun = self._clock.monotonic_ns()

    def _pause(self, target: str, error: BaseException) -> None:
        """A 429 that says for how long: until then, nothing goes to that target."""
        if isinstance(error, UpstreamStatusError) and error.status == 429 and error.retry_after:
            self._pauses.ask(target, error.retry_after)

    def _cost(self, model: str, before: int, after: int) -> int:
        assert self._price is not None
        price = self._price(model)
        return 0 if price is None else cost_nano(price, Usage(before, after))

    def _stream_ended(self, held: list[Reservation], attempt: Attempt, habit: Habit, end: StreamEnd) -> None:
        self._settle(held, attempt, habit, end.usage)

    def _settle(self, held: list[Reservation], attempt: Attempt, habit: Habit, usage: Usage) -> None:
        """An answer without a count keeps what was set aside for it."""
        before, after = usage.input_tokens, usage.output_tokens
        spent: Need | None = None
        if before or after:
            if habit.skip:
                habit.skip -= 1
            elif not usage.estimated:  # nobody learns from his own guess
                fields = attempt.call.fields
                habit.learn(fields.input_chars, fields.max_output > 0, fields.choices, before, after)
            nano = 0
            if self._price is not None and (price := self._price(attempt.target.model)) is not None:
                nano = cost_nano(price, usage)
            spent = (1, before, after, before + after, nano)
        for reservation in held:
            reservation.release(spent)


def _failed(held: list[Reservation], error: BaseException, *, sent: bool) -> None:
    """Give back what the attempt surely did not spend: all of it if it never left, the tokens if it was refused.

    What was reserved stays spent where nobody knows what a broken attempt cost the provider.
    """
    spent: Need | None = None
    # a RateLimitedError is our own word, wherever in here it was said
    if not sent or isinstance(error, RateLimitedError) or (isinstance(error, UpstreamError) and not error.sent):
        spent = NOTHING
    elif isinstance(error, RequestError):
        spent = _ANSWERED
    for reservation in held:
        reservation.release(spent)
