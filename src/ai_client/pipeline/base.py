"""What the stages say to one another. Each stage is an object with one verb, `__call__`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply

CallStage = Callable[[Call], Awaitable[Reply]]
"""Observed, cached, routed: a call before routing."""

PlanStage = Callable[[Call, Sequence[Target]], Awaitable[Reply]]
"""Fallback: a call and the targets that may answer it, best first."""

AttemptStage = Callable[[Attempt], Awaitable[Reply]]
"""Retried, limited, accounted, send: one target, one try."""
