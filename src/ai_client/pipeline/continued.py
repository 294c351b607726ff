"""A stream of text that breaks off after its commit: another model takes it up, from the text so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from ai_client.clock import Clock
from ai_client.errors import AIClientError
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.events import AttemptFailed
from ai_client.model.prefill import ECHO, can_be_taken_up, unspaced
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint
from ai_client.model.usage import NO_USAGE, Usage, plus
from ai_client.pipeline.base import AttemptStage, PlanStage
from ai_client.pipeline.joined import Continuation, Joined
from ai_client.routing.rules import Onward, rule_for
from ai_client.telemetry.base import Sink

_CHAT: Final = Endpoint.CHAT


class Continued:
    """Hands a broken text, as the beginning of an assistant's message, to the targets whose models go on from there.

    Only one choice of plain text can be taken up, and only by models that are listed; each target is asked once, and
    not the one that broke. Where nobody goes on, the caller gets the break itself, and nothing of the attempts to mend
    it. The bounds of the call hold: its deadline, and its attempts over all targets.
    """

    __slots__ = ("_attempt", "_clock", "_inner", "_max_attempts", "_sinks", "_styles")

    def __init__(
        self,
        inner: PlanStage,
        attempt: AttemptStage,
        styles: Mapping[str, str],
        max_attempts: int,
        clock: Clock,
        sinks: Sequence[Sink],
    ) -> None:
        """`attempt` tries one target, as `inner` does; `styles` has the models that go on from a given beginning, with
        the way in which they are asked to.
        """
        self._inner = inner
        self._attempt = attempt
        self._styles = styles
        self._max_attempts = max_attempts
        self._clock = clock
        self._sinks = tuple(sinks)

    async def __call__(self, call: Call, targets: Sequence[Target]) -> Reply:
        """Pass on; a stream that may be taken up is watched for its break."""
        fields = call.fields
        if not fields.stream or call.endpoint is not _CHAT or fields.choices != 1:
            return await self._inner(call, targets)
        able = [target for target in targets if target.model in self._styles]
        if not able:
            return await self._inner(call, targets)
        call = replace(call, keep=True)
        reply = await self._inner(call, targets)
        if reply.stream is not None:
            reply.stream = Joined(reply.stream, partial(self._go_on, call, able, []))
        return reply

    async def _go_on(
        self, call: Call, able: list[Target], spent: list[Usage], said: str, error: AIClientError
    ) -> Continuation | None:
        record = call.record
        self._tell(call, error)
        spent.append(record.usage)
        able[:] = [target for target in able if target.name != record.target]
        if rule_for(error).onward is not Onward.ANY or not can_be_taken_up(call.body):
            return None
        beginning, space = unspaced(said)
        fields = replace(call.fields, input_chars=call.fields.input_chars + len(beginning))
        call = replace(call, prefill=beginning, fields=fields)
        while able and record.attempts < self._max_attempts and self._clock.monotonic_ns() < call.deadline_ns:
            target = able.pop(0)
            try:
                reply = await self._attempt(Attempt(call, target))
            except AIClientError:
                continue
            if reply.stream is not None:
                exact = self._styles[target.model] == ECHO
                repeated = beginning + space if exact else space
                total = NO_USAGE
                for each in spent:
                    total = plus(total, each)
                return Continuation(reply.stream, repeated, total, exact)
        return None

    def _tell(self, call: Call, error: AIClientError) -> None:
        record = call.record
        code = error.code or error.type
        event = AttemptFailed(record.request_id, record.target, record.attempts, code, error.status, error.message, 0)
        for sink in self._sinks:
            sink.attempt_failed(event)
