"""How long each target takes: what hedging goes by. There only where hedging is on."""

from __future__ import annotations

import asyncio

from ai_client.clock import Clock
from ai_client.errors import UpstreamTimeoutError
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply
from ai_client.pipeline.base import AttemptStage
from ai_client.routing.hedging import Hedging


class Timed:
    """Notes in the record when an attempt goes out, and learns after how long its answer came.

    It stands inside the limiter: the wait for our own quota is none of the target's time.
    """

    __slots__ = ("_clock", "_hedging", "_inner")

    def __init__(self, inner: AttemptStage, hedging: Hedging, clock: Clock) -> None:
        self._inner = inner
        self._hedging = hedging
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> Reply:
        """Pass on, and learn."""
        call = attempt.call
        record = call.record
        stream = call.fields.stream and not call.whole
        target = self._hedging.of(attempt.target)
        begun = record.sent_ns = self._clock.monotonic_ns()
        try:
            reply = await self._inner(attempt)
        except (asyncio.CancelledError, UpstreamTimeoutError):
            self._hedging.given_up(target, self._clock.monotonic_ns() - begun, stream=stream)
            raise
        finally:
            record.sent_ns = 0
        self._hedging.learn(target, self._clock.monotonic_ns() - begun, stream=stream)
        return reply
