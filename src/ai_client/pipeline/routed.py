"""From the name the caller asked for to the targets that may answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ai_client.model.call import Call, Target
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint
from ai_client.pipeline.base import PlanStage


class Routed:
    """Asks the model table; raises its `UnknownModelError` for a name nobody serves."""

    __slots__ = ("_decide", "_inner", "_pass_through")

    def __init__(self, inner: PlanStage, decide: Callable[[str, str], Sequence[Target]], pass_through: Target) -> None:
        """`decide(model, text)` gives the targets, best first, never none; `pass_through` takes what names no model."""
        self._inner = inner
        self._decide = decide
        self._pass_through = (pass_through,)

    def __call__(self, call: Call) -> Awaitable[Reply]:
        """Choose, and pass on: no coroutine of its own, for there is nothing to do afterwards."""
        fields = call.fields
        if not fields.model and call.endpoint is Endpoint.OTHER:
            return self._inner(call, self._pass_through)
        return self._inner(call, self._decide(fields.model, fields.text))
