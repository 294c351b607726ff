"""A second request to another target when the first takes unusually long; whichever answers first wins.

After Jeffrey Dean and Luiz Barroso, "The Tail at Scale", Communications of the ACM, 2013.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial

import msgspec

from ai_client.clock import Clock
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
from ai_client.providers.base import Provider
from ai_client.routing.health import Health
from ai_client.routing.hedging import Denied, Hedging, TargetHedges
from ai_client.routing.rules import OWN_QUOTA, Onward, rule_for
from ai_client.telemetry.base import Sink


class HedgeParts(msgspec.Struct, frozen=True):
    """What tells whether a call is asked twice, and where; `providers` by their keys. `health`, `pools` and `means`
    are None where those are off; `max_attempts` bounds the tries of one call over all its targets.
    """

    hedging: Hedging
    max_attempts: int
    providers: Mapping[str, Provider]
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
        if call.endpoint is OTHER or call.record.hedge or not hedging.settings.covers(target.model, call.priority):
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
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        watch = _Watch(Race(attempt.call.record, task), attempt.call, others, known, delay)
        watch.timer = loop.call_later(delay / 1e9, self._look, watch, loop)
        race = watch.race
        try:
            try:
                reply = await self._inner(attempt)
            except BaseException as error:
                watch.timer.cancel()
                ours = race.interrupted()
                if race.second is None:
                    raise
                try:
                    return await self._without(watch, race.second, error, ours=ours)
                finally:
                    await race.clear()
            watch.timer.cancel()
            race.over = True
            if race.second is not None:
                race.interrupted()
                self._came_in(watch, race.second)
                race.first_wins(reply)
                await race.clear()
            return reply
        finally:
            del task, watch, race  # a cancelled task remembers this frame: no circle may be left

    async def _without(self, watch: _Watch, second: asyncio.Task[Reply], error: BaseException, *, ours: bool) -> Reply:
        """The first will not answer; it was interrupted by the second (`ours`), or ended by `error`."""
        try:
            if not ours:
                if not isinstance(error, AIClientError) or rule_for(error).onward is Onward.NOWHERE:
                    raise error
                await asyncio.wait((second,))
                self._came_in(watch, second)
                if isinstance(second.exception(), AIClientError):
                    raise error
        finally:
            del error  # it remembers this frame: no circle may be left
        reply = watch.race.second_wins()
        watch.known.won += 1
        return reply

    def _look(self, watch: _Watch, loop: asyncio.AbstractEventLoop) -> None:
        """Is the first late by now? The wait for our own quota does not count."""
        race, call, known = watch.race, watch.call, watch.known
        now = self._clock.monotonic_ns()
        left = (race.record.sent_ns or now) + watch.delay - now
        if left > 0:
            watch.timer = loop.call_later(left / 1e9, self._look, watch, loop)
            return
        other = self._choose(call, watch.others)
        if isinstance(other, Target) and self._parts.means is not None:
            race.held = self._parts.means.spare(call, other.model)
            other = Denied.MONEY if race.held is None else other
        if isinstance(other, Target) and not known.budget.take():
            other = Denied.BUDGET
        if isinstance(other, Target):
            self._launch(watch, other, loop)
            return
        known.denied[other] += 1
        if race.held is not None:
            race.held.settle(0)

    def _launch(self, watch: _Watch, other: Target, loop: asyncio.AbstractEventLoop) -> None:
        record = watch.race.record
        record.attempts += 1
        record.hedge = "lost"
        watch.known.launched += 1
        watch.other = other
        side = side_record(record, other)
        second = loop.create_task(self._ask(msgspec.structs.replace(watch.call, record=side), other))
        watch.race.enter(second, side)
        second.add_done_callback(partial(self._came_in, watch))

    async def _ask(self, call: Call, other: Target) -> Reply:
        return await self._single(Attempt(call, other, hedge=True))

    def _came_in(self, watch: _Watch, second: asyncio.Task[Reply]) -> None:
        """The second answered or failed, which is noted once, or is still out, or was stopped."""
        if watch.noted or not second.done() or second.cancelled():
            return
        watch.noted = True
        error = second.exception()
        if isinstance(error, AIClientError):
            self._failed(watch.race.record, error, watch.other, watch.known)
            return
        watch.race.interrupt()  # by its answer; or by a defect of ours, which is not to be hidden

    def _choose(self, call: Call, others: Sequence[Target]) -> Target | Denied:
        record = call.record
        if record.attempts >= self._parts.max_attempts or self._clock.monotonic_ns() >= call.deadline_ns:
            return Denied.ATTEMPTS
        if not only_asks(call.endpoint, call.headers, call.body):
            return Denied.EFFECTS
        pools, health, providers = self._parts.pools, self._parts.health, self._parts.providers
        why = Denied.CIRCUIT
        for each in others:
            other = each
            if pools is not None and each.provider in pools.by_provider:
                seat = pools.pick(Attempt(call, each), (record.target,))
                if seat is None:
                    continue
                other = seat.target
            if health is None or health.closed(other.name):
                if not providers[other.key].busy:
                    return other
                why = Denied.QUOTA  # its connections are all in use, and a second request waits for nothing
        return why

    def _failed(self, record: Record, error: AIClientError, other: Target, known: TargetHedges) -> None:
        """The second request is out of the race; the first goes on."""
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


class _Watch:
    """A call that may become late: what is to be known then."""

    __slots__ = ("call", "delay", "known", "noted", "other", "others", "race", "timer")

    timer: asyncio.TimerHandle
    other: Target

    def __init__(self, race: Race, call: Call, others: Sequence[Target], known: TargetHedges, delay: int) -> None:
        self.race = race
        self.call = call
        self.others = others
        self.known = known
        self.delay = delay
        self.noted = False
