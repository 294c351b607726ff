"""The request's travel.

    observed(cached(routed(budgeted(continued(fallback(hedged(retried(pooled(guarded(limited(adapted(timed(
        accounted(send))))))))))))))

The order is written here and nowhere else. Each stage wraps the one inside it: retry and fallback enclose the
limiter, so that every attempt reserves afresh; accounting sits inside them, because a broken attempt may still be
billed. Hedged stands around retried: the first request may be tried again while the second is out, which is tried
once. Timed stands inside the limiter: our own queue is none of a target's time. The budget encloses fallback: it is
the call's, and no other target makes money. A stage whose feature is off is left out, and then costs nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import msgspec

from ai_client.clock import Clock
from ai_client.cost.budget import Budgets
from ai_client.cost.prices import Price
from ai_client.limits.adaptive import Adaptive
from ai_client.limits.estimate import Habits
from ai_client.model.call import Target
from ai_client.pipeline.accounted import Accounted
from ai_client.pipeline.adapted import Adapted
from ai_client.pipeline.base import AttemptStage, CallStage, PlanStage
from ai_client.pipeline.budgeted import Budgeted, Means
from ai_client.pipeline.cached import Cached, CacheSettings
from ai_client.pipeline.continued import Continued
from ai_client.pipeline.fallback import Fallback, nothing_larger
from ai_client.pipeline.guarded import Guarded
from ai_client.pipeline.hedged import Hedged, HedgeParts
from ai_client.pipeline.limited import Limited, Quotas
from ai_client.pipeline.observed import Observed
from ai_client.pipeline.pooled import Pooled, Pools
from ai_client.pipeline.retried import Retried, RetrySettings, always
from ai_client.pipeline.routed import Routed
from ai_client.pipeline.send import Send
from ai_client.pipeline.timed import Timed
from ai_client.providers.base import Provider
from ai_client.routing.health import Health
from ai_client.routing.hedging import Hedging
from ai_client.telemetry.base import Sink


class Parts(msgspec.Struct, frozen=True):
    """All that the stages need.

    `cache`, `quotas`, `budgets`, `health`, `pools`, `adaptive` and `hedging` are None where those are off.
    """

    clock: Clock
    rng: random.Random
    sinks: Sequence[Sink]
    providers: Mapping[str, Provider]
    decide: Callable[[str, str], Sequence[Target]]
    pass_through: Target
    price: Callable[[str], Price | None]
    on_unknown_price: Callable[[str], None]
    refuse_unknown_price: bool
    retry: RetrySettings
    larger: Callable[[str], Sequence[Target]] = nothing_larger
    quotas: Quotas | None = None
    cache: CacheSettings | None = None
    budgets: Budgets | None = None
    habits: Habits = Habits()
    health: Health | None = None
    pools: Pools | None = None
    adaptive: Adaptive | None = None
    hedging: Hedging | None = None
    continues: Mapping[str, str] = MappingProxyType({})


def build_pipeline(parts: Parts) -> Observed:
    """Put the stages around one another, innermost first."""
    # Stages are handed on as bound methods: CPython calls one without going through C, as it does for an object.
    attempt: AttemptStage = Send(parts.providers).__call__
    refuse = parts.refuse_unknown_price
    attempt = Accounted(
        attempt, parts.price, parts.on_unknown_price, parts.habits.count, refuse_unknown=refuse
    ).__call__
    if parts.hedging is not None:
        attempt = Timed(attempt, parts.hedging, parts.clock).__call__
    if parts.adaptive is not None:
        weights = {} if parts.quotas is None else parts.quotas.weights
        attempt = Adapted(attempt, parts.adaptive, weights, parts.clock).__call__
    if parts.quotas is not None:
        attempt = Limited(attempt, parts.quotas, parts.clock).__call__
    if parts.health is not None:
        attempt = Guarded(attempt, parts.health, parts.clock).__call__
    single = attempt
    allow_retry = always if parts.health is None else parts.health.allow_retry
    if parts.pools is not None:
        attempt = Pooled(attempt, parts.pools, parts.retry.max_attempts, parts.clock, parts.sinks, allow_retry).__call__
    attempt = Retried(attempt, parts.retry, parts.clock, parts.rng, parts.sinks, allow_retry).__call__
    means = None if parts.budgets is None else Means(parts.budgets, parts.price, parts.habits)
    if parts.hedging is not None:
        most = parts.retry.max_attempts
        wanted = HedgeParts(parts.hedging, most, parts.providers, parts.health, parts.pools, means)
        attempt = Hedged(attempt, single, wanted, parts.clock, parts.sinks).__call__
    plan: PlanStage = Fallback(attempt, parts.retry.max_attempts, parts.clock, parts.larger).__call__
    if parts.continues:
        most = parts.retry.max_attempts
        plan = Continued(plan, attempt, parts.continues, most, parts.clock, parts.sinks).__call__
    if means is not None:
        plan = Budgeted(plan, means).__call__
    call: CallStage = Routed(plan, parts.decide, parts.pass_through).__call__
    if parts.cache is not None:
        call = Cached(call, parts.cache, parts.clock).__call__
    return Observed(call, parts.sinks, parts.clock)
