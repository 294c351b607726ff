"""Configuration → objects → pipeline. The only file that names concrete classes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import traceback
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from ai_client._version import __version__
from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.backends.sqlite import SqliteCache
from ai_client.cache.backends.tiered import TieredCache
from ai_client.cache.base import CacheBackend
from ai_client.cache.policy import CachePolicy
from ai_client.clock import Clock, SystemClock
from ai_client.config.snapshot import Config
from ai_client.config.snapshot import Provider as ProviderConfig
from ai_client.cost.backends.memory import MemoryLedger
from ai_client.cost.backends.sqlite import SqliteLedger
from ai_client.cost.base import LedgerBackend
from ai_client.cost.budget import Budgets
from ai_client.cost.ledger import Ledger
from ai_client.cost.prices import Price, PriceTable, nano_dollars
from ai_client.errors import ConfigurationError
from ai_client.figures import watch_budgets, watch_health, watch_service
from ai_client.limits.admission import Admission
from ai_client.limits.backends.keeper import Keeper
from ai_client.limits.member import Mode
from ai_client.model.call import Target
from ai_client.pipeline import Parts, build_pipeline
from ai_client.pipeline.bookkeeping import LedgerSink
from ai_client.pipeline.cached import CacheSettings
from ai_client.pipeline.limited import Quotas
from ai_client.pipeline.local import Local
from ai_client.pipeline.observed import Observed
from ai_client.pipeline.retried import RetrySettings
from ai_client.providers.openai.provider import OpenAIProvider, Patience
from ai_client.providers.openai.wire import Wire
from ai_client.routing.breaker import State
from ai_client.routing.health import Health, TargetHealth
from ai_client.routing.table import AutoModels, ModelTable
from ai_client.service import Service
from ai_client.telemetry import catalogue
from ai_client.telemetry.base import Level, Sink
from ai_client.telemetry.calls import CallLog
from ai_client.telemetry.deferred import Deferred
from ai_client.telemetry.journal import Journal
from ai_client.telemetry.lines import Destination, LineWriter, Stderr
from ai_client.telemetry.logfile import LogFile
from ai_client.telemetry.metrics import MetricsSink
from ai_client.telemetry.stats import StatsSink
from ai_client.telemetry.text import Style
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.proxy import Proxy
from ai_client.transport.tls import client_context

_USER_AGENT = f"ai-client/{__version__}"
_LOCAL_POOL = 1000  # connections to the node's own daemon, which has limits of its own
_MOST_WARNED = 100  # models of which it is said that they have no price


class Shared:
    """What outlives a reload: the clock, the chance, what was spent, counted, cached and logged."""

    def __init__(self, clock: Clock, rng: random.Random, ledger: Ledger, journal: Journal) -> None:
        self.clock = clock
        self.rng = rng
        self.ledger = ledger
        self.journal = journal
        self.stats = StatsSink()
        self.metrics: MetricsSink | None = None
        self.cache: CacheBackend | None = None
        self.sinks: list[Sink] = [LedgerSink(ledger)]
        self.deferred: Deferred | None = None
        self.quota = Keeper(clock)
        self.budgets = Budgets(ledger.read)
        self.admission = Admission(clock)
        self.health = Health(clock, rng, self._circuit_changed)
        self._warned: set[str] = set()
        # unique across restarts and nodes by the random half, within the process by the counted one
        prefix, number = f"req_{rng.getrandbits(48):012x}", count(1)
        self.make_id: Callable[[], str] = lambda: f"{prefix}{next(number):08x}"

    def unknown_price(self, model: str) -> None:
        """An answer could not be priced: say so once for each model."""
        if model not in self._warned and len(self._warned) < _MOST_WARNED:
            self._warned.add(model)
            self.journal.warning("unknown_price", model=model, advice="add it to [model_costs]: it was not billed")

    def crash(self, error: BaseException) -> None:
        """A defect of ours: say where, without the values that a traceback of frames would show."""
        where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
        self.journal.error("internal_error", kind=type(error).__name__, where=" < ".join(reversed(where)))

    def tell(self) -> None:
        """Have every sink told of the calls that ended up to now."""
        if self.deferred is not None:
            self.deferred.flush()

    async def flush(self) -> None:
        """Write down what was spent. A ledger that cannot be written keeps its rows for the next time."""
        self.tell()
        try:
            await asyncio.get_running_loop().run_in_executor(None, self.ledger.flush)
        except OSError as error:
            self.journal.error("ledger_failed", message=str(error))

    async def close(self) -> None:
        """Write out everything and let go of it."""
        for sink in self.sinks:
            sink.close()
        try:
            self.ledger.close()
        except OSError as error:
            self.journal.error("ledger_failed", message=str(error))
        if self.cache is not None:
            await self.cache.close()
        await self.quota.close()
        self.journal.close()

    def _circuit_changed(self, target: TargetHealth) -> None:
        """A target's circuit opened, is tried, or closed."""
        breaker = target.breaker
        calls, faults, slow = breaker.counts
        tell = self.journal.warning if breaker.state is State.OPEN else self.journal.info
        tell("circuit", target=target.name, state=breaker.state.label, calls=calls, failed=faults, slow=slow)

    def fleet_mode(self, mode: Mode, why: str) -> None:
        """How the fleet's limits are kept has changed."""
        tell = self.journal.info if mode is Mode.SHARED else self.journal.warning
        tell("fleet_limits", mode=mode.value, why=why, members=self.quota.fleet.members if self.quota.fleet else 0)


def open_library(config: Config) -> Shared:
    """What a client in somebody's program keeps: figures and costs in memory; warnings go to standard error."""
    clock = SystemClock()
    journal = Journal(LineWriter(Stderr(), clock, None), clock, level=Level.WARNING, style=Style.TEXT)
    shared = Shared(clock, random.Random(), Ledger(_ledger_backend(config)), journal)
    shared.sinks.append(shared.stats)
    # several programs may run on one node: each is a member of its own
    shared.quota.share(config, f"{config.fleet.node_name}:{shared.rng.getrandbits(48):012x}", shared.fleet_mode)
    if config.caching.enabled and config.caching.memory_mb:
        shared.cache = MemoryCache(clock, config.caching.memory_mb << 20)
    return shared


def open_daemon(config: Config) -> Shared:
    """What the daemon keeps: besides, metrics and log files. Raises `ConfigurationError` when it cannot have them."""
    clock = SystemClock()
    loop = asyncio.get_running_loop()
    logging = config.logging
    level, style = Level[logging.level], Style(logging.format)
    writers = {name: LineWriter(_destination(config, name, clock), clock, loop) for name in ("daemon", "calls")}
    journal = Journal(writers["daemon"], clock, level=level, style=style)
    shared = Shared(clock, random.Random(), Ledger(_ledger_backend(config)), journal)
    shared.cache = _cache(config, clock, journal)
    shared.quota.share(config, config.fleet.node_name, shared.fleet_mode)
    if config.monitoring.enable_metrics:
        shared.metrics = MetricsSink(__version__)
        shared.metrics.watch(catalogue.LINES_DROPPED, lambda: {(n,): w.dropped for n, w in writers.items()})
        shared.metrics.watch(catalogue.LOG_ERRORS, lambda: {(n,): w.errors for n, w in writers.items()})
        shared.sinks.append(shared.metrics)
    shared.sinks.append(CallLog(writers["calls"], clock, level=level, style=style))
    shared.deferred = Deferred(shared.sinks, loop)
    shared.sinks = [shared.deferred]
    return shared


def build(config: Config, shared: Shared) -> Service:
    """Put a service together. Raises `ConfigurationError` for what only shows when it is tried, such as a CA file."""
    providers = {name: _provider(config, each, shared.clock) for name, each in config.providers.items()}
    table = _table(config)
    shared.quota.set(config)
    shared.health.set(config.guard)
    table_of_prices = prices(config)
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
        quotas=_quotas(config, shared.quota, table_of_prices),
        larger=table.larger,
        cache=_cache_settings(config, shared),
        budgets=_budgets(config, shared),
        habits=shared.quota.habits,
        health=shared.health if config.guard.enabled else None,
    )
    _warn(config, table, shared.journal)
    service = Service(config, shared.clock, build_pipeline(parts), table, providers, shared.make_id)
    service.limits = shared.quota.state
    service.admission = shared.admission.set(config.admission)
    service.circuits = shared.health.states
    _watch(service, shared)
    return service


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


def _warn(config: Config, table: ModelTable, journal: Journal) -> None:
    """Say what is configured and does not, or cannot, take effect."""
    for unserved in table.unserved:
        journal.warning("model_not_served", message=unserved)
    budgets = [config.costs.budget_usd_per_day, *(app.budget_usd_per_day for app in config.apps.values())]
    if config.costs.ledger is None and any(budget is not None for budget in budgets):
        journal.warning("budget_forgets", message="[costs] ledger = none: a restart begins every budget anew")


def build_local(config: Config, shared: Shared, address: str, token: str) -> Service:
    """A service that leaves all to the daemon at `address` (`unix:PATH`, `HOST:PORT` or `https://HOST:PORT`)."""
    path = address.removeprefix("unix:") if address.startswith("unix:") else None
    base = "http://localhost" if path is not None else address if "://" in address else f"http://{address}"
    origin = Origin.parse(f"{base}/v1")
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


def _provider(config: Config, provider: ProviderConfig, clock: Clock) -> OpenAIProvider:
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
    wire = Wire(origin, key, _USER_AGENT, stream_usage=provider.stream_usage)
    patience = Patience(provider.timeout, performance.read_timeout, performance.request_timeout_buffer)
    return OpenAIProvider(provider.name, pool, wire, patience, clock, key)


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


def _quotas(config: Config, keeper: Keeper, table: PriceTable) -> Quotas:
    return Quotas(
        keeper.providers,
        keeper.apps,
        keeper.scopes,
        keeper.habits,
        keeper.pauses,
        {name: app.weight for name, app in config.apps.items() if app.weight != 1},
        table.lookup if any(quota.dollars for quota in config.quotas.values()) else None,
    )


def _watch(service: Service, shared: Shared) -> None:
    """Let the metrics read the service that is current."""
    metrics = shared.metrics
    if metrics is None:
        return
    watch_service(metrics, service, shared.cache)
    watch_budgets(metrics, shared.budgets)
    watch_health(metrics, shared.health)
    metrics.watch(catalogue.WAITING, shared.quota.waiting)
    metrics.watch(catalogue.LIMITER, shared.quota.levels)
    fleet = shared.quota.fleet
    if fleet is not None:
        metrics.watch(catalogue.FLEET_MODE, lambda: {(each.value,): float(each is fleet.mode) for each in Mode})
        metrics.watch(catalogue.FLEET_MEMBERS, lambda: float(fleet.members))
        metrics.watch(catalogue.FLEET_TRIPS, lambda: float(fleet.trips))
        metrics.watch(catalogue.FLEET_FAILURES, lambda: float(fleet.failures))


def _cache(config: Config, clock: Clock, journal: Journal) -> CacheBackend | None:
    """The daemon's cache: memory, and the disk behind it where there is a directory for it."""
    caching = config.caching
    if not caching.enabled:
        return None
    memory = MemoryCache(clock, caching.memory_mb << 20)
    max_bytes = int(caching.max_cache_size_gb * (1 << 30))
    if caching.persistent == "no" or not max_bytes:
        return memory
    if caching.persistent == "auto" and not _writable(caching.cache_dir):
        journal.info("cache_in_memory", reason=f"{caching.cache_dir} is not a directory that can be written to")
        return memory
    disk = SqliteCache(clock, caching.cache_dir, max_bytes, lambda text: journal.warning("cache_failed", message=text))
    return TieredCache(memory, disk)


def _cache_settings(config: Config, shared: Shared) -> CacheSettings | None:
    if shared.cache is None or not config.caching.enabled:
        return None
    # whatever decides which model answers: after a change of it, nothing kept before is given
    deciding = [(each.name, each.base_url, each.models, dict(each.renames)) for each in config.providers.values()]
    scope = repr((deciding, config.models, config.routing.aliases, config.routing.simple, config.routing.moderate))
    digest = hashlib.blake2b(f"{scope} {config.routing.complex}".encode(), digest_size=16).hexdigest()
    return CacheSettings(shared.cache, CachePolicy.of(config.caching.ttl_seconds, config.caching.scope), digest)


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def _ledger_backend(config: Config) -> LedgerBackend:
    path = config.costs.ledger
    if path is None:
        return MemoryLedger()
    try:
        return SqliteLedger(path)
    except OSError as error:
        raise ConfigurationError([f"[costs] ledger = {path}: {error}"]) from error


def _destination(config: Config, name: str, clock: Clock) -> Destination:
    """Where a log goes: its file, or standard error when that is asked for or when the file cannot be had."""
    logging = config.logging
    if logging.destination == "stderr":
        return Stderr()
    file = LogFile(
        logging.log_dir, name, clock, daily=logging.rotation == "daily", retention_days=logging.retention_days
    )
    try:
        file.descriptor()
    except OSError as error:
        if logging.destination == "file":
            raise ConfigurationError([f"[logging] log_dir = {logging.log_dir}: {error}"]) from error
        return Stderr()
    return file
