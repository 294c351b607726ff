"""What outlives a reload: made once when a program starts, handed to every service that `build` makes afterwards.

Names concrete classes as `build` does: the clock, the backends of ledger and cache, where logs go.
"""

from __future__ import annotations

import asyncio
import os
import random
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path

from ai_client._version import __version__
from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.backends.sqlite import SqliteCache
from ai_client.cache.backends.tiered import TieredCache
from ai_client.cache.base import CacheBackend
from ai_client.clock import Clock, SystemClock
from ai_client.config.snapshot import Config
from ai_client.cost.backends.memory import MemoryLedger
from ai_client.cost.backends.sqlite import SqliteLedger
from ai_client.cost.base import LedgerBackend
from ai_client.cost.budget import Budgets
from ai_client.cost.ledger import Ledger
from ai_client.errors import ConfigurationError
from ai_client.limits.admission import Admission
from ai_client.limits.backends.keeper import Keeper
from ai_client.limits.heed import Change
from ai_client.limits.member import Mode
from ai_client.pipeline.bookkeeping import LedgerSink
from ai_client.routing.breaker import State
from ai_client.routing.health import Health, TargetHealth
from ai_client.routing.hedging import Hedging
from ai_client.routing.keypool import Refusals
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

_MOST_WARNED = 100  # models of which it is said that they have no price


class Shared:
    """What outlives a reload: the clock, the chance, what was spent, counted, cached and logged."""

    def __init__(self, clock: Clock, rng: random.Random, ledger: Ledger, journal: Journal) -> None:
        self.clock = clock
        self.rng = rng
        self.ledger = ledger
        self.journal = journal
        self.stats = StatsSink()
        self.log_dir: Path | None = None
        """Where log files are written; None where messages go to standard error."""
        self.metrics: MetricsSink | None = None
        self.cache: CacheBackend | None = None
        self.sinks: list[Sink] = [LedgerSink(ledger)]
        self.deferred: Deferred | None = None
        self.quota = Keeper(clock)
        self.quota.on_told = self._told
        self.budgets = Budgets(ledger.read)
        self.admission = Admission(clock)
        self.health = Health(clock, rng, self._circuit_changed)
        self.hedging = Hedging()
        self.refusals = Refusals(clock, self._key_refused)
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

    def _key_refused(self, key: str, status: int, seconds: float) -> None:
        """One of several keys, or a model for one of them, was refused and is left out, or was taken again."""
        if seconds:
            advice = "mend or replace it, then reload: the other keys take its calls meanwhile"
            self.journal.error("key_refused", key=key, status=status, left_out_seconds=seconds, advice=advice)
        else:
            self.journal.info("key_accepted", key=key)

    def _told(self, change: Change) -> None:
        """A provider told a limit that is smaller than the configured one, or that none is configured for."""
        tell = self.journal.warning if change.told and change.configured else self.journal.info
        tell(
            "provider_limit",
            target=change.name,
            kind=change.kind.name.lower(),
            told=change.told or None,
            configured=change.configured or None,
        )

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
    destinations = {name: _destination(config, name, clock) for name in ("daemon", "calls")}
    writers = {name: LineWriter(each, clock, loop) for name, each in destinations.items()}
    journal = Journal(writers["daemon"], clock, level=level, style=style)
    shared = Shared(clock, random.Random(), Ledger(_ledger_backend(config)), journal)
    if any(isinstance(each, LogFile) for each in destinations.values()):
        shared.log_dir = logging.log_dir
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
        raise ConfigurationError([f"[costs] ledger = {path}: {error.strerror or error}"]) from error


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
            raise ConfigurationError([f"[logging] log_dir = {logging.log_dir}: {error.strerror}"]) from error
        return Stderr()
    return file
