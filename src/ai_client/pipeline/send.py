"""Innermost: the attempt leaves the house."""

from __future__ import annotations

from collections.abc import Mapping

from ai_client.clock import Clock
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply
from ai_client.providers.base import Provider


class Send:
    """Hands an attempt to its target's provider."""

    __slots__ = ("_clock", "_providers")

    def __init__(self, providers: Mapping[str, Provider], clock: Clock) -> None:
        self._providers = providers
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> Reply:
        """One try."""
        reply = await self._providers[attempt.target.provider].send(attempt)
        record = attempt.call.record
        record.first_byte_ns = self._clock.monotonic_ns() - record.started_ns
        return reply
