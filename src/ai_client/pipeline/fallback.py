"""When one target fails, the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ai_client.clock import Clock
from ai_client.errors import AIClientError
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply
from ai_client.pipeline.base import AttemptStage
from ai_client.routing.rules import Onward, may_repeat, rule_for


def nothing_larger(_model: str) -> tuple[Target, ...]:
    """No model has more room than another."""
    return ()


class Fallback:
    """Tries the targets in order, as far as `routing.rules` lets a call go on.

    When all fail, the first one's error is raised, which explains most. Where the prompt did not fit a model it is the
    error of the first of those that might have taken it.
    """

    __slots__ = ("_clock", "_inner", "_larger", "_max_attempts")

    def __init__(
        self,
        inner: AttemptStage,
        max_attempts: int,
        clock: Clock,
        larger: Callable[[str], Sequence[Target]] = nothing_larger,
    ) -> None:
        """`max_attempts` bounds the tries of one call over all its targets; `larger(model)` gives the targets with more
        room than that model has, best first.
        """
        self._inner = inner
        self._max_attempts = max_attempts
        self._clock = clock
        self._larger = larger

    async def __call__(self, call: Call, targets: Sequence[Target]) -> Reply:
        """Pass attempts on until one is answered."""
        first: AIClientError | None = None
        too_small: list[str] = []
        try:
            while True:
                target = targets[0]
                try:
                    return await self._inner(Attempt(call, target, 1, targets))
                except AIClientError as error:
                    rule = rule_for(error)
                    first = first or error
                    if rule.onward is Onward.NOWHERE or not may_repeat(rule, error, repeatable=call.repeatable):
                        raise first from (None if error is first else error)
                    targets = targets[1:]
                    if rule.onward is Onward.OTHER_MODEL:
                        too_small.append(target.model)
                        targets = [*self._larger(target.model), *targets]
                    if too_small:
                        targets = [each for each in targets if each.model not in too_small]
                    if call.record.avoid:
                        targets = [each for each in targets if each.name != call.record.avoid]
                    if not targets or self._over(call):
                        raise first from None
                    if rule.onward is Onward.OTHER_MODEL:
                        first = None
        finally:
            del first  # the error remembers this frame: no circle may be left

    def _over(self, call: Call) -> bool:
        return call.record.attempts >= self._max_attempts or self._clock.monotonic_ns() >= call.deadline_ns
