"""When one target fails, the next."""

from __future__ import annotations

from collections.abc import Sequence

from ai_client.clock import Clock
from ai_client.errors import AIClientError, ContextLengthError, UpstreamError
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply
from ai_client.pipeline.base import AttemptStage


class Fallback:
    """Tries the targets in order; gives up with the first target's error, which is the one that explains most.

    Only what another target can mend moves on: its own failure, its quota, its context window. A request that is
    at fault comes back at once.
    """

    __slots__ = ("_clock", "_inner", "_max_attempts")

    def __init__(self, inner: AttemptStage, max_attempts: int, clock: Clock) -> None:
        """`max_attempts` bounds the tries of one call over all its targets."""
        self._inner = inner
        self._max_attempts = max_attempts
        self._clock = clock

    async def __call__(self, call: Call, targets: Sequence[Target]) -> Reply:
        """Pass attempts on until one is answered."""
        record = call.record
        first: AIClientError | None = None
        for target in targets:
            try:
                return await self._inner(Attempt(call, target))
            except AIClientError as error:
                first = first or error
                if not _moves_on(call, error):
                    raise first from (None if error is first else error)
                if record.attempts >= self._max_attempts or self._clock.monotonic_ns() >= call.deadline_ns:
                    break
        assert first is not None, "routing always names a target"
        raise first


def _moves_on(call: Call, error: AIClientError) -> bool:
    if isinstance(error, UpstreamError) and error.sent and not call.repeatable:
        return False
    return error.retryable or isinstance(error, ContextLengthError)
