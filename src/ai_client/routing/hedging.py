"""Which calls may be asked twice, when, and what became of it: decides, and does no I/O."""

from __future__ import annotations

import enum
from collections import Counter
from typing import Final

import msgspec

from ai_client.model.call import Target
from ai_client.routing.hedge_budget import HedgeBudget
from ai_client.routing.quantile import Quantile

MOST_TARGETS: Final = 500
"""Targets that are kept apart; those that come later are kept by provider."""

ANY: Final = "*"


class HedgeSettings(msgspec.Struct, frozen=True):
    """See [hedge]. `share` is 0 to 1."""

    models: frozenset[str] = frozenset({ANY})
    percentile: int = 95
    min_samples: int = 100
    share: float = 0.05
    other_models: bool = False
    min_priority: int = 1

    def covers(self, model: str, priority: int) -> bool:
        """May calls that go to this model, with this priority, be hedged?"""
        return priority >= self.min_priority and (ANY in self.models or model in self.models)


class Denied(enum.StrEnum):
    """Why a call that was slow enough was not asked twice."""

    BUDGET = "budget"  # so many calls of this target are hedged already
    ATTEMPTS = "attempts"  # the call has used up its attempts, or its time
    EFFECTS = "effects"  # the request does more than to ask
    CIRCUIT = "circuit"  # no other target's circuit is closed
    MONEY = "money"  # the day's budget does not suffice for two
    QUOTA = "quota"  # the other target has nothing free now, or no connection


class TargetHedges:
    """One target's: how long it takes, whole answers and streams apart, and the hedges of calls that waited for it."""

    __slots__ = ("budget", "denied", "launched", "streamed", "whole", "won")

    def __init__(self, share: float) -> None:
        self.whole = Quantile()
        self.streamed = Quantile()
        self.budget = HedgeBudget(share)
        self.launched = 0
        self.won = 0
        self.denied: Counter[Denied] = Counter()

    def times(self, *, stream: bool) -> Quantile:
        """Those of whole answers, or those of streams' first content."""
        return self.streamed if stream else self.whole


class Hedging:
    """All targets', by name. It outlives a reload: what was learned stays."""

    def __init__(self) -> None:
        self.settings = HedgeSettings()
        self.targets: dict[str, TargetHedges] = {}

    def set(self, settings: HedgeSettings) -> None:
        """Go by these from now on."""
        self.settings = settings
        for target in self.targets.values():
            target.budget.allow(settings.share)

    def of(self, target: Target) -> TargetHedges:
        """A target's, all its keys together; beyond `MOST_TARGETS`, that of all the others of its provider together."""
        name = f"{target.provider}/{target.model}" if target.member else target.name
        found = self.targets.get(name)
        if found is None:
            name = name if len(self.targets) < MOST_TARGETS else target.provider
            found = self.targets.get(name)
            if found is None:
                found = self.targets[name] = TargetHedges(self.settings.share)
        return found

    def delay_ns(self, target: TargetHedges, *, stream: bool) -> int:
        """After how long a call is slow for this target; 0 while too little is known of it."""
        times = target.times(stream=stream)
        return times.at(self.settings.percentile) if times.seen >= self.settings.min_samples else 0

    def learn(self, target: TargetHedges, ns: int, *, stream: bool) -> None:
        """An answer, or a stream's first content, came after so long."""
        target.times(stream=stream).add(ns)

    def given_up(self, target: TargetHedges, ns: int, *, stream: bool) -> None:
        """None came in so long. That says something only if it was longer than usual; then it must be counted, or
        those that a hedge spares us would make the target look quicker than it is.
        """
        times = target.times(stream=stream)
        if times.seen and ns >= times.at(self.settings.percentile):
            times.add(ns)
