"""A second request to another target when the first takes unusually long; whichever answers first wins.

After Jeffrey Dean and Luiz Barroso, "The Tail at Scale", Communications of the ACM, 2013.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import msgspec

from ai_client.clock import Clock
from ai_client.cost.budget import Held
from ai_client.errors import AIClientError, CircuitOpenError
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.effects import only_asks
from ai_client.model.events import AttemptFailed
from ai_client.model.record import Record
from ai_client.model.reply import Reply
from ai_client.model.request import OTHER
from ai_client.pipeline.base import AttemptStage
from ai_client.pipeline.budgeted import Means
from ai_client.pipeline.pooled import Pools
from ai_client.pipeline.race import Race, side_record
from ai_client.routing.health import Health
from ai_client.routing.hedging import Denied, Hedging, TargetHedges
from ai_client.routing.rules import OWN_QUOTA, Onward, rule_for
from ai_client.telemetry.base import Sink


class HedgeParts(msgspec.Struct, frozen=True):
    """What tells whether a call is asked twice, and where. `health`, `pools` and `means` are None where those are off;
    `max_attempts` bounds the tries of one call over all its targets.
    """

    hedging: Hedging
    max_attempts: int
    health: Health | None = None
    pools: Pools | None = None
    means: Means | None = None


class Hedged:
    """Watches an attempt, its retries included, and asks a second target once if no answer began within the time that
    usually suffices.

    The second request is one attempt, never retried, and takes only what is free. If the first fails meanwhile, it is
    the next target's try. If the second fails, nobody waits for it.
    """

    __slots__ = ("_clock", "_inner", "_parts", "_single", "_sinks")

    def __init__(
        self, inner: AttemptStage, single: AttemptStage, parts: HedgeParts, clock: Clock, sinks: Sequence[Sink]
    ) -> None:
        """`inner` tries a target as often as it may; `single` once."""
        self._inner = inner
        self._single = single
        self._parts = parts
        self._clock = clock
        self._sinks = tuple(sinks)

    def __call__(self, attempt: Attempt) -> Awaitable[Reply]:
        """Pass on what is not to be asked twice, as it is: then nothing is added to it."""
        call, target = attempt.call, attempt.target
        hedging = self._parts.hedging
        if call.endpoint is OTHER or call.record.hedge or not hedging.settings.covers(target.model):
            return self._inner(attempt)
        others = self._others(attempt)
        if not others:
            return self._inner(attempt)
        known = hedging.of(target)
        known.budget.call()
        delay = hedging.delay_ns(known, stream=call.fields.stream and not call.whole)
        return self._watched(attempt, others, known, delay) if delay else self._inner(attempt)

    def _others(self, attempt: Attempt) -> list[Target]:
        """Where a second request might go: the targets that come next, then another key of the same."""
        target, pools = attempt.target, self._parts.pools
        others_too = self._parts.hedging.settings.other_models
        others = [each for each in attempt.chain[1:] if each != target and (others_too or each.model == target.model)]
        if pools is not None and target.provider in pools.by_provider:
            others.append(target)
        return others

    async def _watched(self, attempt: Attempt, others: Sequence[Target], known: TargetHedges, delay: int) -> Reply:
        call = attempt.call
        race = Race(call.record, asyncio.ensure_future(self._inner(attempt)))
        held: Held | None = None
        try:
            if not await self._is_slow(race.first, call.record, delay):
                return race.first_wins()
            other = self._choose(call, others)
            if isinstance(other, Target) and self._parts.means is not None:
                held = self._parts.means.spare(call, other.model)
                other = Denied.MONEY if held is None else other
            if isinstance(other, Target) and not known.budget.take():
                other = Denied.BUDGET
            if isinstance(other, Target):
                return await self._both(race, call, other, known)
            known.denied[other] += 1
            await asyncio.wait((race.first,))
            return race.first_wins()
        finally:
            try:
                await race.clear()
            finally:
                if held is not None:
                    held.settle(0)  # what it cost is part of what the call cost

    async def _is_slow(self, first: asyncio.Future[Reply], record: Record, delay: int) -> bool:
        """Wait until it is over, or has been out for so long. The wait for our own quota does not count."""
        while not first.done():
            now = self._clock.monotonic_ns()
            left = (record.sent_ns or now) + delay - now
            if left <= 0:
                return True
            await asyncio.wait((first,), timeout=left / 1e9)
        return False

    def _choose(self, call: Call, others: Sequence[Target]) -> Target | Denied:
        record = call.record
        if record.attempts >= self._parts.max_attempts or self._clock.monotonic_ns() >= call.deadline_ns:
            return Denied.ATTEMPTS
        if not only_asks(call.endpoint, call.headers, call.body):
            return Denied.EFFECTS
        pools, health = self._parts.pools, self._parts.health
        for each in others:
            other = each
            if pools is not None and each.provider in pools.by_provider:
                seat = pools.pick(Attempt(call, each), (record.target,))
                if seat is None:
                    continue
                other = seat.target
            if health is None or health.closed(other.name):
                return other
        return Denied.CIRCUIT

    async def _both(self, race: Race, call: Call, other: Target, known: TargetHedges) -> Reply:
        record = call.record
        record.attempts += 1
        record.hedge = "lost"
        known.launched += 1
        side = side_record(record, other)
        hedge = Attempt(msgspec.structs.replace(call, record=side), other, hedge=True)
        second = asyncio.ensure_future(self._single(hedge))
        race.enter(second, side)
        failed = False
        while True:
            await asyncio.wait(race.running, return_when=asyncio.FIRST_COMPLETED)
            if race.first.done() and (failed or not _may_go_on(race.first)):
                return race.first_wins()
            if second.done() and not failed:
                error = second.exception()
                if error is None:
                    known.won += 1
                    return race.second_wins()
                failed = True
                self._failed(record, error, other, known)
                if race.first.done():
                    return race.first_wins()

    def _failed(self, record: Record, error: BaseException, other: Target, known: TargetHedges) -> None:
        """The second request is out of the race; the first goes on. A defect of ours is raised."""
        if not isinstance(error, AIClientError):
            raise error
        rule = rule_for(error)
        if rule is OWN_QUOTA:  # it never went out
            record.attempts -= 1
            record.hedge = ""
            known.launched -= 1
            known.budget.give_back()
            known.denied[Denied.CIRCUIT if isinstance(error, CircuitOpenError) else Denied.QUOTA] += 1
            return
        record.hedge = "failed"
        if not rule.again:
            record.avoid = other.name
        code = error.code or error.type
        event = AttemptFailed(record.request_id, other.name, 1, code, error.status, error.message, -1)
        for sink in self._sinks:
            sink.attempt_failed(event)


def _may_go_on(first: asyncio.Future[Reply]) -> bool:
    """Did the first fail in such a way that the second may save the call?"""
    error = first.exception()
    return isinstance(error, AIClientError) and rule_for(error).onward is not Onward.NOWHERE
