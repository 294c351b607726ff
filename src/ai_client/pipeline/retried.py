"""The same target again, after a wait: exponential backoff with full jitter, or as long as the provider asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec

from ai_client.clock import Clock
from ai_client.errors import AIClientError
from ai_client.model.call import Attempt
from ai_client.model.events import AttemptFailed
from ai_client.model.reply import Reply
from ai_client.pipeline.base import AttemptStage
from ai_client.routing.retry import backoff
from ai_client.routing.rules import may_repeat, rule_for, spaced
from ai_client.telemetry.base import Sink


class RetrySettings(msgspec.Struct, frozen=True):
    """How often and how patiently. Delays in seconds; `max_attempts` is over all targets of a call."""

    max_retries: int = 3
    max_attempts: int = 6
    base_delay: float = 0.5
    max_delay: float = 30.0


def always(_target: str) -> bool:
    """A retry budget that never runs out."""
    return True


class Retried:
    """Tries one target again as `routing.rules` allows, up to `max_retries` times, within the call's deadline and its
    budget of attempts, and only while the target's retry budget allows it.

    A Retry-After longer than `max_delay` ends the tries at this target.
    """

    __slots__ = ("_allow", "_clock", "_inner", "_rng", "_settings", "_sinks")

    def __init__(
        self,
        inner: AttemptStage,
        settings: RetrySettings,
        clock: Clock,
        rng: random.Random,
        sinks: Sequence[Sink],
        allow: Callable[[str], bool] = always,
    ) -> None:
        """`allow(target name)` takes one retry from that target's budget, or says that there is none left."""
        self._allow = allow
        self._inner = inner
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._sinks = tuple(sinks)

    async def __call__(self, attempt: Attempt) -> Reply:
        """Pass the attempt on, again if need be."""
        record = attempt.call.record
        while True:
            record.target = attempt.target.name  # a pool says which of its keys it was
            try:
                return await self._inner(attempt)
            except AIClientError as error:
                wait = self._wait(attempt, error)
                self._tell(attempt, error, wait)
                if wait is None:
                    raise
            await asyncio.sleep(wait)
            attempt = Attempt(attempt.call, attempt.target, attempt.number + 1)

    def _wait(self, attempt: Attempt, error: AIClientError) -> float | None:
        """Seconds until the next try, None for no more."""
        settings = self._settings
        call = attempt.call
        rule = rule_for(error)
        if attempt.number > min(rule.again, settings.max_retries) or call.record.attempts >= settings.max_attempts:
            return None
        if not may_repeat(rule, error, repeatable=call.repeatable):
            return None
        wait = backoff(attempt.number, settings.base_delay, settings.max_delay, self._rng)
        if rule.slow:
            wait = max(wait, settings.base_delay / 2)
        if error.retry_after is not None:
            if error.retry_after > settings.max_delay:
                return None
            # at least as long as asked, and spread: everybody was told the same
            wait = error.retry_after + min(wait, settings.base_delay)
        wait = spaced(attempt.number, wait)
        left = (call.deadline_ns - self._clock.monotonic_ns()) / 1e9
        return wait if wait < left and self._allow(call.record.target) else None

    def _tell(self, attempt: Attempt, error: AIClientError, wait: float | None) -> None:
        event = AttemptFailed(
            attempt.call.record.request_id,
            attempt.call.record.target,
            attempt.number,
            error.code or error.type,
            error.status,
            error.message,
            -1 if wait is None else int(wait * 1e9),
        )
        for sink in self._sinks:
            sink.attempt_failed(event)
