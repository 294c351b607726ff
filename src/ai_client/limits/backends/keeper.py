"""Keeps the limiters of a process through its reloads: those that stay configured keep what was spent."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from ai_client.clock import Clock
from ai_client.config.snapshot import Config
from ai_client.errors import ConfigurationError
from ai_client.limits import wanted
from ai_client.limits.adaptive import Adaptive
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Caller, Settings
from ai_client.limits.crew import Crew
from ai_client.limits.estimate import Habits
from ai_client.limits.fleet import Fleet
from ai_client.limits.gate import Gate
from ai_client.limits.hearsay import Hearsay
from ai_client.limits.heed import Change, Heed
from ai_client.limits.member import Mode, Terms
from ai_client.limits.pauses import Pauses
from ai_client.limits.scopes import VALUE_OF, Scope

Make = Callable[[str, Settings], Gate]
"""Makes a limiter by its id, such as `provider:holysheep`."""
OnMode = Callable[[Mode, str], None]
"""Hears of every change in how the fleet's limits are kept, and why."""

_USUAL: Final = str(Caller().priority)


class Keeper:
    """All limiters. `fleet` is None where each is this process's own."""

    def __init__(self, clock: Clock) -> None:
        self._make: Make = lambda name, settings: MemoryLimiter(_said(name), settings, clock)
        self._clock = clock
        self.fleet: Fleet | None = None
        self.crew: Crew | None = None
        self.providers: dict[str, Gate] = {}
        self.apps: dict[str, Gate] = {}
        self.scopes: list[Scope] = []
        self.habits = Habits()
        self.pauses = Pauses(clock)
        self.adaptive = Adaptive(clock)
        self.on_told: Callable[[Change], None] = _nobody
        self.heed = Heed(clock, self.providers, self._make_told, self._changed)
        self._scopes: dict[str, tuple[object, Scope]] = {}
        self._queued: set[tuple[str, str]] = set()  # limit and priority that were told of once

    def share(self, config: Config, member: str, on_mode: OnMode) -> None:
        """Share the limits with the fleet, where [fleet] says so, under the name of `member`.

        Raises `ConfigurationError` where the client for Redis is not installed. Connects when it is first used.
        """
        if config.fleet.backend == "memory":
            return
        try:
            redis = importlib.import_module("ai_client.limits.backends.redis")
            places = importlib.import_module("ai_client.limits.backends.place_redis")
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                [f"[fleet] backend = redis: {error.name} is not installed: pip install 'ai-client[fleet]'"]
            ) from error
        wanted_ = config.fleet
        terms = Terms(
            member,
            wanted_.weight,
            int(wanted_.lease_seconds * 1e9),
            int(wanted_.share_seconds * 1e9),
            fail_closed=wanted_.fail_closed,
        )
        client = redis.connect(wanted_.redis_url, wanted_.redis_ca)
        store = redis.RedisStore(client, wanted_.namespace)
        self.crew = self.adaptive.crew = Crew(places.RedisPlaces(client, wanted_.namespace), terms, self._clock)
        fleet = Fleet(store, terms, self._clock, on_mode=on_mode, on_pause=self.pauses.hear)
        self.fleet = fleet
        self._make = lambda name, settings: fleet.make(name, _said(name), settings, keep=name.startswith("provider:"))
        self.pauses.on_set = fleet.pause
        if config.limits.heed_providers:
            fleet.hearsay = Hearsay(self.heed, self._clock)

    def _make_told(self, name: str, settings: Settings) -> Gate:
        return self._make(name, settings)  # which is another when the fleet shares

    def _changed(self, change: Change) -> None:
        self.on_told(change)
        if self.fleet is not None:
            self.fleet.spread()

    async def close(self) -> None:
        """Return what the fleet lent."""
        if self.crew is not None:
            await self.crew.close()
        if self.fleet is not None:
            await self.fleet.close()

    def set(self, config: Config) -> None:
        """Bring the limiters to what is configured."""
        _update(self.providers, wanted.providers(config), "provider", self._make)
        _update(self.apps, wanted.apps(config), "app", self._make)
        self.adaptive.set(*wanted.adaptive(config))
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
        self.heed.burst_seconds = config.limits.burst_seconds
        if config.limits.heed_providers:
            self.heed.refresh()
        else:
            self.heed.forget()
        if self.crew is not None:
            self.crew.keep({f"limit:{name}:{value}" for name, (_, each) in kept.items() for value in each.by_value})
        order = list(VALUE_OF)
        self.scopes = [
            kept[each.name][1] for each in sorted(config.quotas.values(), key=lambda e: order.index(e.scope))
        ]

    def _of_scope(self, name: str) -> Make:
        def make(value: str, settings: Settings) -> Gate:
            limit = f"limit:{name}:{value}"
            gate = self._make(limit, settings)
            if settings.fleet_concurrent and self.crew is not None:
                self.crew.join(limit, gate, settings.fleet_concurrent)
            elif settings.fleet_concurrent:
                gate.resize(settings.fleet_concurrent)
            return gate

        return make

    def state(self) -> dict[str, Any]:
        """Every limit as it stands, as JSON can write it."""
        now = self._clock.monotonic_ns()
        fleet = self.fleet
        found: dict[str, Any] = {
            "mode": "local" if fleet is None else fleet.mode.value,
            "members": 1 if fleet is None else fleet.members,
            "share": 1.0 if fleet is None else fleet.share,
            "places": "local" if self.crew is None else self.crew.mode.value,
            "paused": {target: round((end - now) / 1e9, 3) for target, end in self.pauses.until.items() if end > now},
            "told": self.heed.state(),
            "limits": {},
        }
        for name, gate in self:
            levels = gate.available()
            rates = {
                rate.name: {
                    "amount": rate.amount,
                    "window_seconds": rate.period_ns / 1e9,
                    "burst": rate.burst,
                    "available": levels[rate.name],
                }
                for rate in gate.settings.rates
            }
            places = gate.places
            found["limits"][name] = {
                "rates": rates,
                "running": gate.running,
                "max_concurrent": places,
                "waiting": gate.waiting,
            }
            if gate.settings.fleet_concurrent:
                found["limits"][name]["fleet_concurrent"] = gate.settings.fleet_concurrent
        return found

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
        yield from self.adaptive
        yield from self.heed

    def queues(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Of each limit and priority: how many calls wait, and the nanoseconds that one more had to expect.

        All values of a [limit NAME] are told together: the longest wait of any. A priority that waited once is told
        from then on, and the usual one always, so that who watches sees a queue come and go.
        """
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for name, gate in self:
            limit = ":".join(name.split(":")[:2])
            found.setdefault((limit, _USUAL), (0, 0))
            for priority, (waiting, expected) in gate.queues().items():
                before = found.get((limit, str(priority)), (0, 0))
                found[limit, str(priority)] = (before[0] + waiting, max(before[1], expected))
        limits = {limit for limit, _ in found}
        self._queued = {each for each in self._queued | found.keys() if each[0] in limits}
        return {each: found.get(each, (0, 0)) for each in sorted(self._queued)}

    def levels(self) -> dict[tuple[str, ...], float]:
        """What may be spent now, by provider and rate."""
        return {
            (name, rate): float(units)
            for name, gate in self.providers.items()
            for rate, units in gate.available().items()
        }


def _update(gates: dict[str, Gate], settings: Mapping[str, Settings], kind: str, make: Make) -> None:
    for name in gates.keys() - settings.keys():
        del gates[name]  # a fleet's lease of it ends by itself
    for name, each in settings.items():
        if name in gates:
            gates[name].reconfigure(each)
        else:
            gates[name] = make(f"{kind}:{name}", each)


def _nobody(_: Change) -> None:
    """Nobody wants to hear of what providers said."""


def _said(name: str) -> str:
    """An id in the words of a message: `the provider 'holysheep'`, `the limit 'research' for 'alice'`."""
    kind, _, rest = name.partition(":")
    if kind == "limit":
        limit, _, value = rest.partition(":")
        return f"the limit {limit!r} for {value!r}"
    if kind == "told":
        return f"the limit that {rest.rpartition(':')[0]!r} told"
    return f"the {kind} {rest!r}"
