"""As many at once as the target takes well: waits for a place, and tells how the target answered."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from ai_client.clock import Clock
from ai_client.errors import RateLimitedError, UpstreamStatusError, UpstreamTimeoutError
from ai_client.limits.adaptive import Adaptive, Target
from ai_client.limits.base import Caller, Need, Reservation
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply, StreamEnd
from ai_client.pipeline.base import AttemptStage

_ONE: Final[Need] = (1, 0, 0, 0, 0)
_TOO_MUCH: Final = (429, 529)


class Adapted:
    """Stands inside the limits, so that the wait for quota takes no place; a call that waits here was not sent yet."""

    __slots__ = ("_adaptive", "_clock", "_inner", "_weights")

    def __init__(self, inner: AttemptStage, adaptive: Adaptive, weights: Mapping[str, int], clock: Clock) -> None:
        """`weights` are those of the apps, where they are not 1."""
        self._inner = inner
        self._adaptive = adaptive
        self._weights = weights
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> Reply:
        """Wait for a place, and pass on."""
        clock = self._clock
        call = attempt.call
        target = self._adaptive.of(attempt.target.name, attempt.target.key)
        gate = target.gate
        held: Reservation | None = gate.try_reserve(_ONE, 0 if attempt.hedge else call.priority)
        if held is None:
            if attempt.hedge:
                raise RateLimitedError("no place is free for a second request, which does not wait")
            asked = clock.monotonic_ns()
            caller = Caller(call.priority, call.app, self._weights.get(call.app, 1))
            try:
                held = await gate.reserve(_ONE, caller, call.deadline_ns)
            finally:
                call.record.queue_ns += clock.monotonic_ns() - asked
        began = clock.monotonic_ns()
        in_flight = gate.running
        try:
            reply = await self._inner(attempt)
        except BaseException as error:
            held.release()
            if _too_much(error):
                target.dropped(began, clock.monotonic_ns())
            raise
        now = clock.monotonic_ns()
        if reply.stream is None:
            held.release()
            target.answered(began, now, in_flight, reply.usage.output_tokens)
        else:
            target.answered(began, now, in_flight, None)
            reply.stream.on_end(partial(self._stream_ended, target, held, began))
        return reply

    def _stream_ended(self, target: Target, held: Reservation, began: int, end: StreamEnd) -> None:
        held.release()
        if end.error is not None and _too_much(end.error):
            target.dropped(began, self._clock.monotonic_ns())


def _too_much(error: BaseException) -> bool:
    """Does this say that the target has more than it can take?"""
    if isinstance(error, UpstreamTimeoutError):
        return error.phase != "total"
    return isinstance(error, UpstreamStatusError) and error.status in _TOO_MUCH
