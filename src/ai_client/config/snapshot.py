"""The configuration as one frozen value, and the holder in which it is swapped whole."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ai_client.config.guard import Adaptive, Admission, Guard
from ai_client.config.hedge import Hedge
from ai_client.config.pools import PoolKey
from ai_client.config.quotas import Fleet, Limit, Limits
from ai_client.config.schema import (
    Api,
    App,
    Batch,
    Caching,
    Costs,
    Daemon,
    Logging,
    Models,
    Monitoring,
    Performance,
    Provider,
    Routing,
    Security,
)
from ai_client.config.streams import Streams
from ai_client.config.values import ModelCost

__all__ = [
    "Adaptive",
    "Admission",
    "Api",
    "App",
    "Batch",
    "Caching",
    "Config",
    "Costs",
    "Daemon",
    "Fleet",
    "Guard",
    "Hedge",
    "Limit",
    "Limits",
    "Logging",
    "ModelCost",
    "Models",
    "Monitoring",
    "Performance",
    "PoolKey",
    "Provider",
    "Routing",
    "Security",
    "Snapshot",
    "Streams",
]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is configured, typed and checked. An attribute for each section; durations are in seconds.

    `model_costs` has a price for each model named there. `providers` maps names to every provider, that of [api] first
    and each with inherited values filled in: read this, not `api`, to know where calls go. `apps` maps names to apps,
    `quotas` those of the sections [limit NAME] to them, `keys` those of the sections [key NAME]. `pools` has each
    provider that has several keys, with all of them, each presented as a provider.
    """

    api: Api
    models: Models
    model_costs: Mapping[str, ModelCost]
    performance: Performance
    caching: Caching
    logging: Logging
    security: Security
    monitoring: Monitoring
    limits: Limits
    fleet: Fleet
    routing: Routing
    streams: Streams
    guard: Guard
    adaptive: Adaptive
    hedge: Hedge
    admission: Admission
    batch: Batch
    daemon: Daemon
    costs: Costs
    providers: Mapping[str, Provider]
    apps: Mapping[str, App]
    quotas: Mapping[str, Limit] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    keys: Mapping[str, PoolKey] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    pools: Mapping[str, tuple[Provider, ...]] = msgspec.field(default_factory=lambda: MappingProxyType({}))

    @property
    def endpoints(self) -> dict[str, Provider]:
        """Wherever calls can go, by name: each provider or, in its place, each of its keys."""
        return {
            each.name: each for name, provider in self.providers.items() for each in self.pools.get(name, (provider,))
        }


class Snapshot:
    """Holds the configuration in force. Who begins a request reads `current` once and keeps what it got."""

    __slots__ = ("_current",)

    def __init__(self, config: Config) -> None:
        self._current = config

    @property
    def current(self) -> Config:
        """The configuration in force now."""
        return self._current

    def replace(self, config: Config) -> Config:
        """Put another configuration in force, whole; returns the one that it replaces."""
        former, self._current = self._current, config
        return former
