"""Quota: reserved before an attempt, settled by what it spent, given back when it is over."""

from __future__ import annotations

from collections.abc import Mapping

from ai_client.clock import Clock
from ai_client.errors import RequestError, UpstreamError
from ai_client.limits.base import Limiter, Reservation
from ai_client.model.call import Attempt, Call
from ai_client.model.reply import Reply, StreamEnd
from ai_client.pipeline.base import AttemptStage

_CHARS_PER_TOKEN = 4
_USUAL_OUTPUT = 256  # tokens set aside for an answer that nobody bounded
_MOST_OUTPUT = 32_768  # and for one whose bound says nothing: the rest becomes debt if it is really spent


class Limited:
    """Admits an attempt to its app's limits, then to its target's."""

    __slots__ = ("_apps", "_clock", "_inner", "_providers")

    def __init__(
        self, inner: AttemptStage, providers: Mapping[str, Limiter], apps: Mapping[str, Limiter], clock: Clock
    ) -> None:
        """Limiters by provider name and by app name; a name that is missing has no limit."""
        self._inner = inner
        self._providers = providers
        self._apps = apps
        self._clock = clock

    async def __call__(self, attempt: Attempt) -> Reply:
        """Wait for quota, and pass on."""
        call = attempt.call
        tokens = estimate_tokens(call)
        held: list[Reservation] = []
        sent = False
        try:
            app = self._apps.get(call.app)
            if app is not None:
                held.append(app.try_reserve(tokens, call.priority) or await self._queued(app, tokens, call))
            provider = self._providers.get(attempt.target.provider)
            if provider is not None:
                held.append(provider.try_reserve(tokens, call.priority) or await self._queued(provider, tokens, call))
            sent = True
            reply = await self._inner(attempt)
        except BaseException as error:
            # what was reserved for tokens stays spent where nobody knows what a broken attempt cost the provider
            spared = not sent or _cost_nothing(error)
            for reservation in held:
                if spared:
                    reservation.settle(0)
                reservation.release()
            raise
        if reply.stream is None:
            _give_back(held, reply.usage.total_tokens)
        else:
            reply.stream.on_end(lambda end: _stream_ended(held, end))
        return reply

    async def _queued(self, limiter: Limiter, tokens: int, call: Call) -> Reservation:
        begun = self._clock.monotonic_ns()
        try:
            return await limiter.reserve(tokens, call.priority, call.deadline_ns)
        finally:
            call.record.queue_ns += self._clock.monotonic_ns() - begun


def estimate_tokens(call: Call) -> int:
    """Tokens to set aside for a call before anybody has counted them."""
    fields = call.fields
    return (
        fields.input_chars // _CHARS_PER_TOKEN + min(fields.max_output or _USUAL_OUTPUT, _MOST_OUTPUT) * fields.choices
    )


def _cost_nothing(error: BaseException) -> bool:
    """Refused before it was answered, or never sent."""
    return isinstance(error, RequestError) or (isinstance(error, UpstreamError) and not error.sent)


def _stream_ended(held: list[Reservation], end: StreamEnd) -> None:
    _give_back(held, end.usage.total_tokens)


def _give_back(held: list[Reservation], spent: int) -> None:
    for reservation in held:
        reservation.release(spent)
