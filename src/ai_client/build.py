"""Configuration → objects → pipeline. With `lasting`, the only file that names concrete classes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit

from ai_client._version import __version__
from ai_client.answers import TOLD
from ai_client.cache.policy import CachePolicy
from ai_client.config.snapshot import Config, Hedge
from ai_client.config.snapshot import Provider as ProviderConfig
from ai_client.config.values import printed
from ai_client.cost.budget import Budgets
from ai_client.cost.prices import Price, PriceTable, nano_dollars
from ai_client.errors import ConfigurationError
from ai_client.figures import watch_budgets, watch_health, watch_hedging, watch_service
from ai_client.lasting import Shared
from ai_client.limits.backends.keeper import Keeper
from ai_client.limits.member import Mode
from ai_client.model.call import Target
from ai_client.pipeline import Parts, build_pipeline
from ai_client.pipeline.cached import CacheSettings
from ai_client.pipeline.limited import Quotas
from ai_client.pipeline.local import Local
from ai_client.pipeline.observed import Observed
from ai_client.pipeline.pooled import Pools
from ai_client.pipeline.retried import RetrySettings
from ai_client.providers.commit import Commit
from ai_client.providers.openai.provider import OpenAIProvider, Patience
from ai_client.providers.openai.wire import Wire
from ai_client.routing.hedging import HedgeSettings
from ai_client.routing.keypool import KeyPool, Member
from ai_client.routing.table import AutoModels, ModelTable
from ai_client.service import Service
from ai_client.telemetry import catalogue
from ai_client.telemetry.journal import Journal
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.proxy import Proxy
from ai_client.transport.tls import client_context

_USER_AGENT = f"ai-client/{__version__}"
_LOCAL_POOL = 1000  # connections to the node's own daemon, which has limits of its own


def build(config: Config, shared: Shared) -> Service:
    """Put a service together. Raises `ConfigurationError` for what only shows when it is tried, such as a CA file."""
    providers = {name: _provider(config, each, shared) for name, each in config.endpoints.items()}
    table = _table(config)
    shared.quota.set(config)
    shared.health.set(config.guard)
    shared.hedging.set(_hedging(config.hedge))
    table_of_prices = prices(config)
    quotas = _quotas(config, shared.quota, table_of_prices)
    parts = Parts(
        clock=shared.clock,
        rng=shared.rng,
        sinks=shared.sinks,
        providers=providers,
        decide=table.decide,
        pass_through=Target(next(iter(config.providers)), "", ""),
        price=table_of_prices.lookup,
        on_unknown_price=shared.unknown_price,
        refuse_unknown_price=config.costs.unknown_price == "refuse",
        retry=RetrySettings(
            config.api.max_retries,
            config.routing.max_attempts,
            config.routing.retry_base_delay,
            config.routing.retry_max_delay,
        ),
        quotas=quotas,
        larger=table.larger,
        cache=_cache_settings(config, shared),
        budgets=_budgets(config, shared),
        habits=shared.quota.habits,
        health=shared.health if config.guard.enabled else None,
        adaptive=shared.quota.adaptive if config.adaptive.enabled else None,
        hedging=shared.hedging if config.hedge.enabled else None,
        continues=config.streams.continue_models,
        pools=_pools(config, shared, quotas),
    )
    _warn(config, shared.journal)
    service = Service(config, shared.clock, build_pipeline(parts), table, providers, shared.make_id)
    service.limits = shared.quota.state
    service.admission = shared.admission.set(config.admission)
    service.circuits = shared.health.states
    service.refused_keys = shared.refusals.states
    _watch(service, shared)
    return service


def _hedging(hedge: Hedge) -> HedgeSettings:
    share = hedge.budget_percent / 100
    return HedgeSettings(
        frozenset(hedge.models), hedge.percentile, hedge.min_samples, share, hedge.other_models, hedge.min_priority
    )


def _budgets(config: Config, shared: Shared) -> Budgets | None:
    """Bring the budgets to what is configured; the ledger tells what is spent already. None where there are none."""
    total = config.costs.budget_usd_per_day
    apps = {
        name: nano_dollars(app.budget_usd_per_day)
        for name, app in config.apps.items()
        if app.budget_usd_per_day is not None
    }
    budgets = shared.budgets
    shared.tell()  # so that the ledger knows of all that is over
    try:
        budgets.set(None if total is None else nano_dollars(total), apps, shared.clock.unix_ns())
    except OSError as error:
        raise ConfigurationError([f"[costs] ledger: what is spent of the budgets cannot be read: {error}"]) from error
    return budgets if budgets.on else None


def _warn(config: Config, journal: Journal) -> None:
    """Say what is configured and does not, or cannot, take effect."""
    budgets = [config.costs.budget_usd_per_day, *(app.budget_usd_per_day for app in config.apps.values())]
    if config.costs.ledger is None and any(budget is not None for budget in budgets):
        journal.warning("budget_forgets", message="[costs] ledger = none: a restart begins every budget anew")


def build_local(config: Config, shared: Shared, address: str, token: str) -> Service:
    """A service that leaves all to the daemon at `address` (`unix:PATH`, `HOST:PORT` or `https://HOST:PORT`).

    Raises `ConfigurationError` for an address that is none of these.
    """
    path = address.removeprefix("unix:") if address.startswith("unix:") else None
    base = "http://localhost" if path is not None else address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(base)
        if parts.path or (path is None and parts.port is None):  # a base URL with /v1, a host alone
            raise ValueError
        origin = Origin.parse(f"{base}/v1")
    except ValueError:
        shown = printed(address)
        raise ConfigurationError(
            [f"{shown} is no daemon's address: expected unix:/PATH, HOST:PORT or https://HOST:PORT, and no more"]
        ) from None
    tls = client_context(ca_bundle=config.security.cert_path) if origin.secure else None
    patience = config.performance
    settings = PoolSettings(size=_LOCAL_POOL, connect_timeout=patience.connection_timeout, tls=tls, unix_path=path)
    total = patience.total_timeout
    provider = OpenAIProvider(
        "daemon",
        Pool(origin, settings),
        Wire(origin, token, _USER_AGENT, stream_usage=True),
        Patience(total, total, patience.request_timeout_buffer),
        shared.clock,
        token,
    )
    pipeline = Observed(Local(provider, prices(config).lookup, shared.clock), shared.sinks, shared.clock)
    return Service(config, shared.clock, pipeline, _table(config), {"daemon": provider}, shared.make_id)


def _provider(config: Config, provider: ProviderConfig, shared: Shared) -> OpenAIProvider:
    origin = Origin.parse(provider.base_url)
    performance = config.performance
    tls = None
    if origin.secure:
        try:
            tls = client_context(verify=provider.verify_ssl, ca_bundle=provider.cert_path)
        except OSError as error:
            raise ConfigurationError([f"cert_path {provider.cert_path} cannot be used: {error}"]) from error
    pool = Pool(
        origin,
        PoolSettings(
            size=provider.connection_pool_size,
            connect_timeout=performance.connection_timeout,
            tls=tls,
            proxy=Proxy.parse(provider.proxy_url) if provider.proxy_url else None,
        ),
    )
    key = provider.api_key.reveal() if provider.api_key is not None else ""
    wire = Wire(origin, key, _USER_AGENT, stream_usage=provider.stream_usage, styles=config.streams.continue_models)
    patience = Patience(
        provider.timeout, performance.read_timeout, performance.request_timeout_buffer, provider.first_token_timeout
    )
    streams = config.streams
    commit = Commit(streams.commit == "whole", frozenset(streams.whole_models), streams.hold_mb << 20)
    count = shared.quota.habits.count
    return OpenAIProvider(provider.name, pool, wire, patience, shared.clock, key, commit, TOLD, count=count)


def prices(config: Config) -> PriceTable:
    """The price table: configured prices over those shipped."""
    costs = config.model_costs
    return PriceTable({name: Price.usd(cost.input, cost.output, cost.cached_input) for name, cost in costs.items()})


def _table(config: Config) -> ModelTable:
    offers: list[tuple[str, Mapping[str, str] | None]] = []
    for name, provider in config.providers.items():
        listed = [model for model in provider.models if model != "*"]
        if listed:
            offers.append((name, {model: provider.upstream_model(model) for model in listed}))
        if provider.open:
            offers.append((name, None))
    routing = config.routing
    try:
        return ModelTable(
            offers,
            default=config.models.default,
            aliases=routing.aliases,
            fallback=config.models.fallback,
            larger=routing.larger,
            auto=AutoModels(routing.simple, routing.moderate, routing.complex),
        )
    except ValueError as error:
        raise ConfigurationError([str(error)]) from None


def _pools(config: Config, shared: Shared, quotas: Quotas) -> Pools | None:
    """The providers that have several keys; None where all have one. All keys are tried anew."""
    shared.refusals.forget()
    if not config.pools:
        return None
    pools = {
        name: KeyPool(
            [
                Member(
                    each.name[len(name) + 1 :],
                    each.weight,
                    each.base_url,
                    {model: each.upstream_model(model) for model in each.models if model != "*"},
                    open_=each.open,
                )
                for each in members
            ],
            shared.rng,
            config.providers[name].sticky_prefix_kb << 10,
        )
        for name, members in config.pools.items()
    }
    return Pools(
        pools,
        shared.refusals,
        quotas,
        shared.health if config.guard.enabled else None,
        shared.quota.adaptive if config.adaptive.enabled else None,
    )


def _quotas(config: Config, keeper: Keeper, table: PriceTable) -> Quotas:
    return Quotas(
        keeper.providers,
        keeper.apps,
        keeper.scopes,
        keeper.habits,
        keeper.pauses,
        {name: app.weight for name, app in config.apps.items() if app.weight != 1},
        table.lookup if any(quota.dollars for quota in config.quotas.values()) else None,
        keeper.heed if config.limits.heed_providers else None,
    )


def _watch(service: Service, shared: Shared) -> None:
    """Let the metrics read the service that is current."""
    metrics = shared.metrics
    if metrics is None:
        return
    watch_service(metrics, service, shared.cache)
    watch_budgets(metrics, shared.budgets)
    watch_health(metrics, shared.health)
    watch_hedging(metrics, shared.hedging)
    metrics.watch(catalogue.KEY_REFUSED, lambda: {(name,): 1.0 for name in shared.refusals.states()})
    queues = shared.quota.queues
    metrics.watch(catalogue.WAITING, lambda: {each: waiting for each, (waiting, _) in queues().items()})
    metrics.watch(catalogue.EXPECTED, lambda: {each: ns / 1e9 for each, (_, ns) in queues().items()})
    metrics.watch(catalogue.LIMITER, shared.quota.levels)
    adaptive = shared.quota.adaptive
    metrics.watch(catalogue.CONCURRENCY, lambda: adaptive.figures(lambda each: each.places))
    metrics.watch(catalogue.CONCURRENT, lambda: adaptive.figures(lambda each: each.gate.running))
    metrics.watch(catalogue.CONCURRENCY_CUTS, lambda: adaptive.figures(lambda each: each.cuts))
    fleet = shared.quota.fleet
    if fleet is not None:
        metrics.watch(catalogue.FLEET_MODE, lambda: {(each.value,): float(each is fleet.mode) for each in Mode})
        metrics.watch(catalogue.FLEET_MEMBERS, lambda: float(fleet.members))
        metrics.watch(catalogue.FLEET_TRIPS, lambda: float(fleet.trips))
        metrics.watch(catalogue.FLEET_FAILURES, lambda: float(fleet.failures))


def _cache_settings(config: Config, shared: Shared) -> CacheSettings | None:
    if shared.cache is None or not config.caching.enabled:
        return None
    # whatever decides which model answers: after a change of it, nothing kept before is given
    deciding = [(each.name, each.base_url, each.models, dict(each.renames)) for each in config.endpoints.values()]
    scope = repr((deciding, config.models, config.routing.aliases, config.routing.simple, config.routing.moderate))
    digest = hashlib.blake2b(f"{scope} {config.routing.complex}".encode(), digest_size=16).hexdigest()
    return CacheSettings(shared.cache, CachePolicy.of(config.caching.ttl_seconds, config.caching.scope), digest)
