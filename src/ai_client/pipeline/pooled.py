"""Of a provider's keys, the one for this attempt; and the next one at once when it fails and another may not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec

from ai_client.clock import Clock
from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    PermissionDeniedError,
    UnknownModelError,
    UpstreamError,
    UpstreamStatusError,
)
from ai_client.limits.adaptive import Adaptive
from ai_client.limits.base import NOTHING, Need
from ai_client.model.call import Attempt, Target
from ai_client.model.events import AttemptFailed
from ai_client.model.reply import Reply
from ai_client.pipeline.base import AttemptStage
from ai_client.pipeline.limited import Quotas
from ai_client.routing.health import Health
from ai_client.routing.keypool import BARRED, KeyPool, Refusals, Seat
from ai_client.routing.rules import QUOTA_SPENT, Onward, may_repeat, rule_for
from ai_client.telemetry.base import Sink


class Pools(msgspec.Struct, frozen=True):
    """The pools by their provider's name, the keys that are out, and what else tells how a key stands."""

    by_provider: Mapping[str, KeyPool]
    refusals: Refusals
    quotas: Quotas | None = None
    health: Health | None = None
    adaptive: Adaptive | None = None

    def pick(self, attempt: Attempt, tried: Collection[str] = (), places: Collection[str] = ()) -> Seat | None:
        """The key that stands best for this attempt; None where the provider has no more than one, or than those tried.

        `tried` holds names of targets, `places` base URLs. What names no model stays with one key: files and batches
        are known to the account that made them.
        """
        target = attempt.target
        pool = self.by_provider.get(target.provider)
        if pool is None:
            return None
        if not target.model:
            return None if tried else pool.seats(target)[0]
        need = NOTHING
        if self.quotas is not None:
            fields = attempt.call.fields
            habit = self.quotas.habits[target.model]
            before, after = habit.estimate(fields.input_chars, fields.max_output, fields.choices)
            need = (1, before, after, before + after, 0)
        now = 0 if self.health is None else self.health.now_ns()
        prefix = attempt.call.body[: pool.sticky_bytes] if pool.sticky_bytes else b""
        return pool.choose(target, partial(self._standing, need, now), prefix, tried, places)

    def _standing(self, need: Need, now_ns: int, target: Target) -> int:
        """How a key stands with the target's model: 0, how long its quota is short, or that it is barred."""
        # on the way of every call, once for each key: what is nothing in good times costs one look
        quotas, health, refusals = self.quotas, self.health, self.refusals
        left = refusals.left_ns(target) if refusals.until else 0
        if quotas is not None and quotas.pauses.until:
            left = max(left, quotas.pauses.left_ns(target.name))
        known = None if health is None else health.targets.get(target.name)
        if known is not None and known.breaker.state:
            left = max(left, known.breaker.retry_after_ns(now_ns))
        if left:
            return BARRED + left
        wait = 0
        if quotas is not None:
            limiter = quotas.providers.get(target.key)
            if limiter is not None:
                wait = limiter.shortage(need)
            if quotas.heed is not None and quotas.heed.gates and (taught := quotas.heed.find(target)) is not None:
                wait = max(wait, taught.shortage(need))
        if self.adaptive is not None and (paced := self.adaptive.targets.get(target.name)) is not None:
            wait = max(wait, paced.gate.shortage(NOTHING))
        return wait


class Pooled:
    """Chooses a key for each attempt at a provider that has several, and goes from one to the next.

    What is a key's own matter (refused, its quota spent, 429, its circuit open) goes on to any other key; what its
    place is to blame for (5xx, no connection, silence) to one at another base URL, at the cost of the target's retry
    budget.
    Nobody waits here: where no key is left, the one outside does.
    """

    __slots__ = ("_allow", "_clock", "_inner", "_max_attempts", "_pools", "_sinks")

    def __init__(
        self,
        inner: AttemptStage,
        pools: Pools,
        max_attempts: int,
        clock: Clock,
        sinks: Sequence[Sink],
        allow: Callable[[str], bool],
    ) -> None:
        """`max_attempts` and `allow` as in `retried`."""
        self._inner = inner
        self._pools = pools
        self._max_attempts = max_attempts
        self._clock = clock
        self._sinks = tuple(sinks)
        self._allow = allow

    def __call__(self, attempt: Attempt) -> Awaitable[Reply]:
        """Pass on: as it is where there is nothing to choose, or somebody chose already."""
        target = attempt.target
        pool = self._pools.by_provider.get(target.provider)
        if target.member or pool is None:
            return self._inner(attempt)
        if pool.alone:
            only = pool.seats(target)[0].target
            attempt.call.record.target = only.name
            return self._inner(Attempt(attempt.call, only, attempt.number, hedge=attempt.hedge))
        return self._through(attempt)

    async def _through(self, attempt: Attempt) -> Reply:
        call, number = attempt.call, attempt.number
        refusals = self._pools.refusals
        tried: list[str] = []
        places: list[str] = []
        suspects: list[tuple[str, int]] = []
        kept: AIClientError | None = None
        seat = self._pools.pick(attempt)
        while True:
            assert seat is not None  # the configuration is refused where nobody serves a model
            target = seat.target
            call.record.target = target.name
            try:
                reply = await self._inner(Attempt(call, target, number, hedge=attempt.hedge))
            except AIClientError as error:
                kept = _telling(kept, error)
                seat = self._next(attempt, seat, error, tried, places, suspects)
                if seat is None:
                    try:
                        raise kept from (None if kept is error else error)
                    finally:
                        del kept  # it remembers this frame: no circle may be left
                self._tell(attempt, target, number, error)
                number += 1
                continue
            for name, status in suspects:  # another key could: so it was the key's fault
                refusals.refused(name, status)
            if refusals.until:
                refusals.accepted(target)
            return reply

    def _next(
        self,
        attempt: Attempt,
        seat: Seat,
        error: AIClientError,
        tried: list[str],
        places: list[str],
        suspects: list[tuple[str, int]],
    ) -> Seat | None:
        """The key to go on with, None for no further one; notes what the error says of this one."""
        call, target = attempt.call, seat.target
        rule = rule_for(error)
        if isinstance(error, AuthenticationError):
            self._pools.refusals.refused(target.key, error.status)
        elif isinstance(error, PermissionDeniedError | UnknownModelError):
            suspects.append((target.name, error.status))
        elif rule is QUOTA_SPENT:
            self._pools.refusals.refused(target.key, 429)
        elif rule.onward is not Onward.ANY or not may_repeat(rule, error, repeatable=call.repeatable):
            return None
        elif isinstance(error, UpstreamError) and not (isinstance(error, UpstreamStatusError) and error.status == 429):
            if not self._allow(target.name):
                return None
            places.append(seat.member.place)
        if call.record.attempts >= self._max_attempts or self._clock.monotonic_ns() >= call.deadline_ns:
            return None
        tried.append(target.name)
        return self._pools.pick(attempt, tried, places)

    def _tell(self, attempt: Attempt, target: Target, number: int, error: AIClientError) -> None:
        record = attempt.call.record
        event = AttemptFailed(
            record.request_id, target.name, number, error.code or error.type, error.status, error.message, 0
        )
        for sink in self._sinks:
            sink.attempt_failed(event)


def _telling(kept: AIClientError | None, error: AIClientError) -> AIClientError:
    """Of two failures, the one to go on with: what waiting helps against, and of these the one that is over first."""
    if kept is None or (error.retryable and not kept.retryable):
        return error
    sooner = error.retry_after is not None and (kept.retry_after is None or error.retry_after < kept.retry_after)
    return error if error.retryable and sooner else kept
