"""Innermost: the attempt leaves the house."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from ai_client.model.call import Attempt
from ai_client.model.reply import Reply
from ai_client.providers.base import Provider


class Send:
    """Hands an attempt to its target's provider, and counts it: what a limit or a circuit holds back is none."""

    __slots__ = ("_providers",)

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = providers

    def __call__(self, attempt: Attempt) -> Awaitable[Reply]:
        """One try: the provider's own coroutine, with none of ours around it."""
        attempt.call.record.attempts += 1
        return self._providers[attempt.target.key].send(attempt)
