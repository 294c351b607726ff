"""The daemon as a process: from its configuration to READY, through reloads, to a clean end."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import socket
import ssl
from collections.abc import Callable, MutableMapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from ai_client._version import __version__
from ai_client.build import build
from ai_client.config.load import Loaded
from ai_client.config.snapshot import Config
from ai_client.daemon.app import Handler, Render
from ai_client.daemon.auth import Gate
from ai_client.daemon.footprint import give_back, resident_bytes
from ai_client.daemon.listen import Address, cannot_listen, check_exposure, check_metrics, parse_address
from ai_client.errors import AIClientError
from ai_client.lasting import Shared, open_daemon
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server, ServerLimits
from ai_client.transport.systemd import listen_fds, notify, watchdog_interval_ns
from ai_client.transport.tls import Certificate

if TYPE_CHECKING:
    from ai_client.telemetry.exposition import Exposition

_FLUSH_SECONDS = 1.0
_NEEDS_RESTART = ("daemon", "logging", "monitoring", "caching", "costs", "fleet")
"""Sections that are read once, at the start: a reload says so when they changed."""


def _unheard(_: str) -> None:
    """What is said where nobody is at a terminal."""


class Daemon:
    """`await start()`, then `await wait()`: returns when it was told to stop and everything is closed."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        listen: tuple[str, ...],
        environ: MutableMapping[str, str],
        say: Callable[[str], object] = _unheard,
    ) -> None:
        """`load` reads the configuration, at the start and at each reload; `listen` overrides its addresses.

        `say` tells a person at a terminal what a ^C waits for.
        """
        self._load = load
        self._listen = listen
        self._environ = environ
        self._say = say
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._servers: list[Server] = []
        self._certificate: Certificate | None = None
        self._reloading = False
        self._reload_again = False
        self.bound: list[str] = []
        self.log_dir: Path | None = None
        self.warnings: tuple[str, ...] = ()

    async def start(self) -> None:
        """Listen and be ready. Raises `ConfigurationError`, or OSError when an address cannot be had."""
        loaded = self._load()
        await self._start(loaded, listen_fds(self._environ, os.getpid()))

    async def _start(self, loaded: Loaded, inherited: list[socket.socket]) -> None:
        config = self._config = loaded.config
        wanted = [] if inherited else [parse_address(text) for text in self._listen or config.daemon.listen]
        self._addresses = [*map(_address_of, inherited), *wanted]
        gate = Gate(config.apps, config.daemon.hosts)
        try:
            self._certificate = _certificate(config)
            self._check_exposure(config, gate, self._certificate)
            self._shared = shared = open_daemon(config)
        except BaseException:
            for sock in inherited:
                sock.close()
            raise
        try:
            self.log_dir = shared.log_dir
            self.warnings = loaded.warnings
            for warning in loaded.warnings:
                shared.journal.warning("configuration", message=warning)
            self._handler = Handler(build(config, shared), gate, _renderer(shared))
        except BaseException:
            await shared.close()
            raise
        try:
            await self._listen_all(config, inherited, wanted)
        except BaseException:
            await self._close(0)
            raise
        self._tasks.append(asyncio.create_task(self._flush_forever()))
        self._watch_signals()
        self._notify("READY=1\nSTATUS=serving on " + ", ".join(self.bound))
        shared.journal.info("ready", version=__version__, listen=", ".join(self.bound), pid=os.getpid())

    async def wait(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain and close."""
        await self._stop.wait()
        self._notify("STOPPING=1")
        await self._close(self._config.daemon.drain_timeout)

    def stop(self) -> None:
        """Begin the end."""
        self._stop.set()

    def interrupt(self) -> None:
        """Begin the end and say what it waits for; the second time, wait no longer."""
        if self._stop.is_set():
            for server in self._servers:
                server.close()
        elif under_way := self._handler.service.in_flight:
            patience = f"{self._config.daemon.drain_timeout:g} s"
            self._say(f"stopping; {patience} for what is under way, calls: {under_way} (once more: at once)")
        self._stop.set()

    async def reload(self) -> None:
        """Read the configuration again; a wrong one is refused whole, and the last good one stays."""
        if self._reloading:
            self._reload_again = True  # what is being read may be older than what this is about
            return
        self._reloading = True
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={self._shared.clock.monotonic_ns() // 1000}")
        try:
            await self._reload_once()
            while self._reload_again:
                self._reload_again = False
                await self._reload_once()
        finally:
            self._reloading = False
            self._notify("READY=1")

    async def _reload_once(self) -> None:
        handler, journal = self._handler, self._shared.journal
        try:
            loaded = await asyncio.get_running_loop().run_in_executor(None, self._load)
            gate = Gate(loaded.config.apps, loaded.config.daemon.hosts)
            certificate = _certificate(loaded.config)
            self._check_exposure(loaded.config, gate, certificate)
            service = build(loaded.config, self._shared)
        except (AIClientError, OSError) as error:
            handler.state.reload_failed = str(error)
            self._count_reload(applied=False)
            journal.error("reload_refused", message=str(error))
        else:
            former, handler.service = handler.service, service
            handler.gate = gate
            if self._certificate is not None and certificate is not None:
                self._certificate.adopt(certificate)
            handler.state.reload_failed = ""
            former.retire()
            self._count_reload(applied=True)
            late = [name for name in _NEEDS_RESTART if _lasting(loaded.config, name) != _lasting(self._config, name)]
            self._config = loaded.config
            journal.info("reloaded", warnings="; ".join(loaded.warnings), after_restart=", ".join(late))

    async def _listen_all(self, config: Config, inherited: list[socket.socket], wanted: list[Address]) -> None:
        daemon = config.daemon
        limits = ServerLimits(
            daemon.max_body_mb << 20,
            daemon.max_header_kb << 10,
            daemon.max_headers,
            daemon.header_timeout,
            daemon.body_timeout,
            daemon.keepalive_timeout,
            daemon.max_connections,
            daemon.write_timeout,
            daemon.max_arriving_mb << 20,
        )
        near = Server(self._handler, limits, on_crash=self._crashed)
        # with connections of its own: whoever comes over the network cannot take those of this node's programs
        far = Server(self._handler.from_afar, limits, on_crash=self._crashed)
        self._servers += (near, far)
        for sock in inherited:
            address = _address_of(sock)
            await (near if address.local else far).adopt(sock, self._tls(address))
            self.bound.append(str(address))
        for address in wanted:
            try:
                self.bound.append(str(await self._listen_on(address, near if address.local else far)))
            except OSError as error:
                raise OSError(error.errno, cannot_listen(str(address), error)) from error
        monitoring = config.monitoring
        if _exports(config):
            exporter = Server(self._metrics_only, limits, on_crash=self._crashed)
            self._servers.append(exporter)
            try:
                await exporter.listen_tcp(monitoring.metrics_host, monitoring.metrics_port)
            except OSError as error:
                # metrics are on the main listener as well: no reason to answer nobody
                where = Address(monitoring.metrics_host, monitoring.metrics_port).place
                why = cannot_listen(where, error)
                self._shared.journal.warning("metrics_port_unavailable", address=where, message=why)

    async def _listen_on(self, address: Address, server: Server) -> Address:
        """Open one address; returns what was bound. Raises OSError."""
        if address.path is not None:
            await server.listen_unix(address.path)
            return address
        host, port = await server.listen_tcp(address.host, address.port, self._tls(address))
        return Address(host, port, https=address.https)

    def _tls(self, address: Address) -> ssl.SSLContext | None:
        return self._certificate.context if address.tls and self._certificate is not None else None

    def _check_exposure(self, config: Config, gate: Gate, certificate: Certificate | None) -> None:
        check_exposure(self._addresses, tokens=gate.demands_tokens, certificate=certificate is not None)
        if _exports(config):
            check_metrics(config.monitoring.metrics_host, public=config.monitoring.metrics_public)

    def _metrics_only(self, request: Request, exchange: Exchange) -> None:
        if request.path == "/metrics" and request.method in ("GET", "HEAD"):
            self._handler.metrics(request, exchange)
        else:
            exchange.send(404, ((b"content-type", b"text/plain"),), b"metrics are at /metrics\n")

    def _watch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        loop.add_signal_handler(signal.SIGINT, self.interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        interval = watchdog_interval_ns(self._environ, os.getpid())
        if interval is not None:
            self._tasks.append(asyncio.create_task(self._pet(interval / 1e9 / 2)))

    def _reload_soon(self) -> None:
        self._tasks = [task for task in self._tasks if not task.done()]
        self._tasks.append(asyncio.create_task(self.reload()))

    async def _pet(self, seconds: float) -> None:
        while True:
            self._notify("WATCHDOG=1")
            await asyncio.sleep(seconds)

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self.weigh()
            await self._shared.flush()

    def weigh(self) -> None:
        """Tell admission how much memory there is, where it bounds that; what is free and kept goes back first."""
        admission = self._shared.admission
        if admission.max_resident:
            admission.resident = resident_bytes()
            if admission.tight and give_back():
                admission.resident = resident_bytes()

    def _crashed(self, error: BaseException) -> None:
        self._shared.crash(error)

    def _count_reload(self, *, applied: bool) -> None:
        if self._shared.metrics is not None:
            self._shared.metrics.config_reloaded(applied=applied)

    def _notify(self, state: str) -> None:
        notify(state, self._environ)

    async def _close(self, grace: float) -> None:
        self._handler.state.draining = True
        for task in self._tasks:
            task.cancel()
        finished = await asyncio.gather(*(server.drain(grace) for server in self._servers))
        self._handler.service.close()
        self._shared.journal.info("stopped", drained=all(finished))
        await self._shared.close()


def _certificate(config: Config) -> Certificate | None:
    """What listeners show; read here, so that a reload reads the files again. Raises `ConfigurationError`."""
    daemon = config.daemon
    return None if daemon.tls_cert is None else Certificate(daemon.tls_cert, daemon.tls_key)


def _exports(config: Config) -> bool:
    return config.monitoring.enable_metrics and config.monitoring.export_prometheus


def _lasting(config: Config, section: str) -> object:
    """What a reload leaves alone of a section. It takes over which answers are kept, and how long, the certificate,
    budgets and the rule for unknown prices.
    """
    if section == "caching":
        return structs.replace(config.caching, ttl_seconds=0, scope="")
    if section == "costs":
        return config.costs.ledger
    if section == "daemon":
        return structs.replace(config.daemon, tls_cert=None, tls_key=None)
    return getattr(config, section)


def _address_of(sock: socket.socket) -> Address:
    name = sock.getsockname()
    if isinstance(name, tuple):
        return Address(name[0], name[1])
    return Address(path=Path(os.fsdecode(name)))  # bytes where it is a name in Linux' abstract namespace


def _renderer(shared: Shared) -> Render | None:
    metrics = shared.metrics
    if metrics is None:
        return None

    @cache
    def exposition() -> Exposition:
        """Made for the first scrape: a start need not wait for what it imports, a tenth of its time."""
        made: Exposition = importlib.import_module("ai_client.telemetry.exposition").Exposition(metrics)
        return made

    def render(accept: bytes | None) -> tuple[bytes, str]:
        shared.tell()
        return exposition().render((accept or b"").decode("latin-1"))

    return render
