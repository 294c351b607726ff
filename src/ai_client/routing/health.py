"""What is known of each target's health: its circuit and its retry budget."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from ai_client.clock import Clock
from ai_client.config.guard import Guard
from ai_client.routing.breaker import Breaker, BreakerSettings, State
from ai_client.routing.retry_budget import RetryBudget

MOST_TARGETS: Final = 500
"""Targets that are kept apart. A provider that takes any model's name could be asked for any number of them."""


class TargetHealth:
    """One target's."""

    __slots__ = ("breaker", "budget", "name")

    def __init__(self, name: str, breaker: Breaker, budget: RetryBudget) -> None:
        self.name = name
        self.breaker = breaker
        self.budget = budget


_NS: Final = 1_000_000_000

OnChange = Callable[[TargetHealth], None]


class Health:
    """All targets', by name. It outlives a reload, unless that changes how they are judged.

    `breakers` is what all circuits are set to.
    """

    def __init__(self, clock: Clock, rng: random.Random, on_change: OnChange | None = None) -> None:
        """`on_change` hears of each circuit that opens, is tried, or closes."""
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._settings = Guard()
        self.breakers = _breaker_settings(self._settings)
        self.targets: dict[str, TargetHealth] = {}

    def set(self, settings: Guard) -> None:
        """Judge by these settings from now on. Where they are new, everything is forgotten."""
        if settings != self._settings:
            self._settings = settings
            self.breakers = _breaker_settings(settings)
            self.targets.clear()

    def of(self, target: str, provider: str) -> TargetHealth:
        """A target's health, by its name; beyond `MOST_TARGETS`, that of all the others of its provider together."""
        found = self.targets.get(target)
        if found is None:
            name = target if len(self.targets) < MOST_TARGETS else provider
            found = self.targets.get(name) or self._add(name)
        return found

    def now_ns(self) -> int:
        """The moment by which circuits are judged."""
        return self._clock.monotonic_ns()

    def states(self) -> dict[str, str]:
        """Each target's circuit, in a word: closed, half_open, open."""
        return {name: target.breaker.state.label for name, target in self.targets.items()}

    def closed(self, target: str) -> bool:
        """Is this target's circuit closed? That of one that was never asked is."""
        found = self.targets.get(target) or self.targets.get(target.partition("/")[0])
        return found is None or found.breaker.state is State.CLOSED

    def allow_retry(self, target: str) -> bool:
        """Take one retry from the target's budget, or say that there is none left. A target unknown has no budget."""
        found = self.targets.get(target) or self.targets.get(target.partition("/")[0])
        return found is None or found.budget.allow(self._clock.monotonic_ns())

    def _add(self, name: str) -> TargetHealth:
        settings = self._settings
        tell = self._on_change

        def changed(_breaker: Breaker) -> None:
            if tell is not None:
                tell(known)

        known = TargetHealth(
            name,
            Breaker(self.breakers, self._rng, changed),
            RetryBudget(settings.retry_percent / 100, settings.retry_floor),
        )
        self.targets[name] = known
        return known


def _breaker_settings(guard: Guard) -> BreakerSettings:
    return BreakerSettings(
        window_ns=int(guard.window_seconds * _NS),
        min_calls=guard.min_calls,
        failure_rate=guard.failure_percent / 100,
        slow_rate=guard.slow_percent / 100,
        slow_ns=int(guard.slow_seconds * _NS),
        open_ns=int(guard.open_seconds * _NS),
        max_open_ns=int(guard.max_open_seconds * _NS),
        probes=guard.probes,
    )
