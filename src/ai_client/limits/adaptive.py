"""Each target's own concurrency: its limit, which `gradient` finds out, and the gate that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ai_client.clock import Clock
from ai_client.limits.base import Rate, Settings
from ai_client.limits.crew import Crew
from ai_client.limits.gate import Gate, Meter
from ai_client.limits.gradient import AdaptiveLimit, Pace

_MOST_TARGETS: Final = 500


class Target:
    """One target: its limit, and the gate that keeps it."""

    __slots__ = ("cuts", "gate", "limit")

    def __init__(self, gate: Gate, limit: AdaptiveLimit) -> None:
        self.gate = gate
        self.limit = limit
        self.cuts = 0

    @property
    def places(self) -> int:
        """Calls that may be under way at once."""
        return self.limit.places

    def answered(self, began_ns: int, now_ns: int, in_flight: int, output_tokens: int | None) -> None:
        """See `AdaptiveLimit`."""
        self.limit.answered(began_ns, now_ns, in_flight, output_tokens)
        self.gate.resize(self.limit.places)

    def dropped(self, began_ns: int, now_ns: int) -> None:
        """See `AdaptiveLimit`."""
        self.cuts += self.limit.dropped(began_ns, now_ns)
        self.gate.resize(self.limit.places)


class Adaptive:
    """All targets', by name; those beyond the first 500 share one with the others of their key. Outlives a reload."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pace = Pace()
        self._settings = Settings()
        self.targets: dict[str, Target] = {}
        self.crew: Crew | None = None

    def set(self, pace: Pace | None, settings: Settings) -> None:
        """Keep to these bounds from now on; None: to none at all. `settings` tell how calls wait."""
        if pace is None:
            self.targets.clear()
            return
        self._pace, self._settings = pace, settings
        for target in self.targets.values():
            target.limit.set(pace)
            target.gate.reconfigure(settings)
            target.gate.resize(target.limit.places)

    def of(self, name: str, key: str) -> Target:
        """A target's, by its name and its key's."""
        found = self.targets.get(name)
        if found is None:
            name = name if len(self.targets) < _MOST_TARGETS else key
            found = self.targets.get(name)
            if found is None:
                limit = AdaptiveLimit(self._pace)
                found = Target(Gate(f"the target {name!r}", self._settings, self._clock, _no_meter), limit)
                found.gate.resize(limit.places)
                self.targets[name] = found
                if self.crew is not None:
                    self.crew.join(f"target:{name}", found.gate, self._pace.first, limit)
        return found

    def __iter__(self) -> Iterator[tuple[str, Gate]]:
        """Every gate, with its id."""
        for name, target in self.targets.items():
            yield f"target:{name}", target.gate

    def figures(self, figure: Callable[[Target], float]) -> dict[tuple[str, ...], float]:
        """A figure of each target, as metrics are read."""
        return {(name,): figure(target) for name, target in self.targets.items()}


def _no_meter(_rate: Rate, _now_ns: int) -> Meter:
    raise AssertionError("a limit of places counts nothing else")
