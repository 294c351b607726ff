"""A target whose circuit is open is not asked; how each attempt ended is told to its circuit."""

from __future__ import annotations

import math
from functools import partial

from ai_client.clock import Clock
from ai_client.errors import CircuitOpenError, UpstreamError, UpstreamStatusError, UpstreamTimeoutError
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply, StreamEnd
from ai_client.pipeline.base import AttemptStage
from ai_client.routing.breaker import REFUSED, Breaker, Outcome
from ai_client.routing.health import Health, TargetHealth

_GOOD, _SLOW = Outcome.GOOD, Outcome.SLOW


class Guarded:
    """Counts what is the target's fault, and only that: 5xx, no connection, resets, silence, broken answers.

    A 429, a request at fault, a caller who leaves or whose own time is up say nothing about the target. A stream counts
    at its end. A probe's stream is judged by its beginning, since its end may be minutes away. The wait for quota is
    ours: it makes no call slow.
    """

    __slots__ = ("_clock", "_health", "_inner", "_slow_ns")

    def __init__(self, inner: AttemptStage, health: Health, clock: Clock) -> None:
        self._inner = inner
        self._health = health
        self._slow_ns = health.breakers.slow_ns
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> Reply:
        """Pass on, unless the circuit is open."""
        clock = self._clock
        target = attempt.target
        health = self._health.of(target.name, target.key)
        breaker = health.breaker
        began = clock.monotonic_ns()
        if attempt.number == 1:
            health.budget.request(began)
        ticket = breaker.admit(began)
        if ticket == REFUSED:
            raise _refusal(health, began)
        record = attempt.call.record
        began -= record.queue_ns
        try:
            reply = await self._inner(attempt)
        except BaseException as error:
            breaker.settle(ticket, blame(error), clock.monotonic_ns())
            raise
        now = clock.monotonic_ns()
        slow_ns = self._slow_ns
        outcome = _SLOW if slow_ns and now - record.queue_ns - began >= slow_ns else _GOOD
        if reply.stream is None:
            breaker.settle(ticket, outcome, now)
            return reply
        last = breaker.begun(ticket, outcome, now)
        reply.stream.on_end(partial(self._ended, breaker, last, outcome))
        return reply

    def _ended(self, breaker: Breaker, ticket: int, outcome: Outcome, end: StreamEnd) -> None:
        if end.error is not None:
            outcome = blame(end.error)
        elif end.cancelled and outcome is _GOOD:
            outcome = Outcome.NEITHER
        breaker.settle(ticket, outcome, self._clock.monotonic_ns())


def blame(error: BaseException) -> Outcome:
    """`BAD` if this is the target's fault, else `NEITHER`."""
    if isinstance(error, UpstreamStatusError):
        return Outcome.BAD if error.retryable and error.status >= 500 else Outcome.NEITHER
    if isinstance(error, UpstreamTimeoutError) and error.phase == "total":
        return Outcome.NEITHER  # the caller's own time, which may have been short
    return Outcome.BAD if isinstance(error, UpstreamError) else Outcome.NEITHER


def _refusal(health: TargetHealth, now_ns: int) -> CircuitOpenError:
    seconds = health.breaker.retry_after_ns(now_ns) / 1e9
    return CircuitOpenError(
        f"{health.name} failed too often lately and is left alone; it is tried again in {math.ceil(seconds)} s. "
        "A further target ([models] fallback, or another [provider] of this model) would have been asked instead.",
        retry_after=seconds,
    )
