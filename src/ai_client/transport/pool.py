"""Connections to one origin: kept alive, counted, handed out in order.

The deciding is synchronous (`_take`, `_idle`, `_closed`); only opening a connection and waiting for one await.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from urllib.parse import SplitResult, urlsplit

import msgspec

from ai_client.errors import AIClientError, ConnectError, OverloadedError, UpstreamTimeoutError
from ai_client.transport.connection import ClientConnection, Incoming, Timeouts
from ai_client.transport.proxy import Proxy, open_tunnel


class Origin(msgspec.Struct, frozen=True):
    """Where a base URL points."""

    secure: bool
    host: str
    port: int
    path: str  # of the base URL, no slash at its end

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Split `http(s)://host[:port][/path]`. Raises ValueError when it is something else."""
        parts: SplitResult = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// or https:// URL with a host")
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname, parts.port or (443 if secure else 80), parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """`host:port` as the Host header wants it: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}"


class PoolSettings(msgspec.Struct, frozen=True):
    """How to connect. Times in seconds; `unix_path` replaces host and port where it is set."""

    size: int = 100
    connect_timeout: float = 10.0
    keepalive_expiry: float = 30.0
    max_body: int = 256 * 1024 * 1024
    tls: ssl.SSLContext | None = None
    proxy: Proxy | None = None
    unix_path: str | None = None


class Pool:
    """At most `size` connections to `origin`; a request beyond waits for one, first come, first served."""

    def __init__(self, origin: Origin, settings: PoolSettings) -> None:
        self.origin = origin
        self._settings = settings
        self._idle: list[ClientConnection] = []  # the last used is taken first: the others may expire
        self._all: set[ClientConnection] = set()
        self._opening = 0
        self._waiters: deque[asyncio.Future[ClientConnection | None]] = deque()
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections now open, idle ones included."""
        return len(self._all)

    async def request(self, wire: bytes, timeouts: Timeouts) -> Incoming:
        """Send `wire` on a connection of this pool; returns the answer.

        Raises `ConnectError` (nothing was sent), `UpstreamTimeoutError`, `BrokenReplyError`. A kept connection
        that proves dead before anything was sent is replaced, unseen.
        """
        connection = self._take()
        if connection is None:
            connection = await self._obtain()
        return await connection.request(wire, timeouts)

    def close(self) -> None:
        """Close every connection; whoever waits is refused."""
        self._closed = True
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(ConnectError(f"the connections to {self.origin} were closed"))
        for connection in tuple(self._all):
            connection.abort()

    def retire(self) -> None:
        """Close what is idle, and let what is busy end with its answer: a reload has replaced this pool."""
        self._closed = True
        for connection in self._idle:
            connection.abort()
        self._idle.clear()

    # ---- deciding

    def _take(self) -> ClientConnection | None:
        idle = self._idle
        while idle:
            connection = idle.pop()
            fresh = asyncio.get_running_loop().time() - connection.idle_since < self._settings.keepalive_expiry
            if fresh and connection.usable:
                return connection
            connection.abort()
        return None

    def _give_back(self, connection: ClientConnection) -> None:
        """An answer is complete: the connection serves whoever waits, or rests."""
        if self._closed:
            connection.abort()
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    def _gone(self, connection: ClientConnection) -> None:
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._let_one_open()

    def _let_one_open(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    # ---- awaiting

    async def _obtain(self) -> ClientConnection:
        while True:
            if self._closed:
                raise ConnectError(f"the connections to {self.origin} were closed")
            if len(self._all) + self._opening < self._settings.size:
                return await self._open()
            waiter: asyncio.Future[ClientConnection | None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                async with asyncio.timeout(self._settings.connect_timeout):
                    connection = await waiter
            except TimeoutError:
                raise OverloadedError(
                    f"all {self._settings.size} connections to {self.origin} were busy for "
                    f"{self._settings.connect_timeout:g} s: raise connection_pool_size, or send less at once",
                    retry_after=1.0,
                ) from None
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                    handed = waiter.result()  # it was ours already: pass it on
                    if handed is None:
                        self._let_one_open()
                    else:
                        self._give_back(handed)
                raise
            if connection is not None and connection.usable:
                return connection

    async def _open(self) -> ClientConnection:
        loop = asyncio.get_running_loop()
        settings = self._settings
        where = str(self.origin)
        connection = ClientConnection(loop, where, settings.max_body, self._give_back, self._gone)
        self._opening += 1
        try:
            async with asyncio.timeout(settings.connect_timeout):
                await self._connect(loop, connection)
        except TimeoutError:
            self._let_one_open()
            text = f"no connection to {where} within {settings.connect_timeout:g} s"
            raise UpstreamTimeoutError(text, phase="connect") from None
        except ssl.SSLError as error:
            self._let_one_open()
            raise ConnectError(f"no TLS with {where}: {_tls_reason(error)}") from error
        except OSError as error:
            self._let_one_open()
            raise ConnectError(f"no connection to {where}: {error.strerror or error}") from error
        except (AIClientError, asyncio.CancelledError):
            self._let_one_open()
            raise
        finally:
            self._opening -= 1
        self._all.add(connection)
        return connection

    async def _connect(self, loop: asyncio.AbstractEventLoop, connection: ClientConnection) -> None:
        origin, settings = self.origin, self._settings
        if settings.unix_path is not None:
            await loop.create_unix_connection(lambda: connection, settings.unix_path)
        elif settings.proxy is not None:
            await open_tunnel(loop, settings.proxy, origin.host, origin.port, settings.tls, lambda: connection)
        else:
            tls = settings.tls if origin.secure else None
            await loop.create_connection(
                lambda: connection, origin.host, origin.port, ssl=tls, server_hostname=origin.host if tls else None
            )


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify ({error.verify_message}); for a private CA set cert_path"
    return error.reason or str(error)
