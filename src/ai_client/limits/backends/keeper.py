"""Keeps the limiters of a process through its reloads: those that stay configured keep what was spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ai_client.clock import Clock
from ai_client.config.snapshot import Config
from ai_client.limits import wanted
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Settings
from ai_client.limits.estimate import Habits
from ai_client.limits.gate import Gate
from ai_client.limits.pauses import Pauses
from ai_client.limits.scopes import VALUE_OF, Scope

Make = Callable[[str, Settings], Gate]
"""Makes a limiter by its id, such as `provider:holysheep`."""


class Keeper:
    """All limiters. `make` is None where each is this process's own."""

    def __init__(self, clock: Clock, make: Make | None = None) -> None:
        self._make: Make = make or (lambda name, settings: MemoryLimiter(_said(name), settings, clock))
        self.providers: dict[str, Gate] = {}
        self.apps: dict[str, Gate] = {}
        self.scopes: list[Scope] = []
        self.habits = Habits()
        self.pauses = Pauses(clock)
        self._scopes: dict[str, tuple[object, Scope]] = {}

    def set(self, config: Config) -> None:
        """Bring the limiters to what is configured."""
        _update(self.providers, wanted.providers(config), "provider", self._make)
        _update(self.apps, wanted.apps(config), "app", self._make)
        kept: dict[str, tuple[object, Scope]] = {}
        for name, limit in config.quotas.items():
            settings = wanted.quota(config, limit)
            what = (limit.scope, limit.values, settings)
            former = self._scopes.get(name)
            if former is not None and former[0] == what:
                kept[name] = former
            else:
                kept[name] = (what, Scope(name, limit.scope, limit.values, settings, self._of_scope(name)))
        self._scopes = kept
        order = list(VALUE_OF)
        self.scopes = [
            kept[each.name][1] for each in sorted(config.quotas.values(), key=lambda e: order.index(e.scope))
        ]

    def _of_scope(self, name: str) -> Make:
        return lambda value, settings: self._make(f"limit:{name}:{value}", settings)

    def __iter__(self) -> Iterator[tuple[str, Gate]]:
        """Every limiter with its id."""
        for name, gate in self.providers.items():
            yield f"provider:{name}", gate
        for name, gate in self.apps.items():
            yield f"app:{name}", gate
        for scope in self.scopes:
            for value, limiter in scope.by_value.items():
                assert isinstance(limiter, Gate)
                yield f"limit:{scope.name}:{value}", limiter

    def waiting(self) -> dict[tuple[str, ...], float]:
        """Calls that wait for each provider."""
        return {(name,): float(gate.waiting) for name, gate in self.providers.items()}

    def levels(self) -> dict[tuple[str, ...], float]:
        """What may be spent now, by provider and rate."""
        return {
            (name, rate): float(units)
            for name, gate in self.providers.items()
            for rate, units in gate.available().items()
        }


def _update(gates: dict[str, Gate], settings: Mapping[str, Settings], kind: str, make: Make) -> None:
    for name in gates.keys() - settings.keys():
        del gates[name]
    for name, each in settings.items():
        if name in gates:
            gates[name].reconfigure(each)
        else:
            gates[name] = make(f"{kind}:{name}", each)


def _said(name: str) -> str:
    """An id in the words of a message: `the provider 'holysheep'`, `the limit 'research' for 'alice'`."""
    kind, _, rest = name.partition(":")
    if kind == "limit":
        limit, _, value = rest.partition(":")
        return f"the limit {limit!r} for {value!r}"
    return f"the {kind} {rest!r}"
