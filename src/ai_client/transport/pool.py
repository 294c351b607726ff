"""Connections to one origin: kept alive, counted, handed out in order.

The deciding is synchronous (`_take`, `_give_back`, `_gone`, `_grant`); only opening a connection and waiting for one
await. A place in the pool is held by an open connection or by whoever is opening one; it is passed on by the same call
that frees it, so that nobody who comes later can slip in between.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from ai_client.errors import AIClientError, ConnectError, OverloadedError, UpstreamTimeoutError
from ai_client.transport.connection import ClientConnection
from ai_client.transport.dial import dial
from ai_client.transport.incoming import Incoming
from ai_client.transport.outbox import Outbox
from ai_client.transport.proxy import Proxy, open_tunnel
from ai_client.transport.timer import NEVER, LazyTimer, Timeouts
from ai_client.transport.tls import client_context

# Seconds of rest after which the kernel is asked whether the connection has ended meanwhile. Under load the loop knows
# by itself, and the question would be asked for every request. (One that is known to end refuses to send.)
_TRUSTED_REST: Final = 0.1

_Waiter = asyncio.Future[ClientConnection | None]


class Origin(msgspec.Struct, frozen=True):
    """Where a base URL points."""

    secure: bool
    host: str
    port: int
    path: str  # of the base URL, no slash at its end

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Split `http(s)://host[:port][/path]`. Raises ValueError when it is something else; it repeats no password."""
        if "@" in url:
            raise ValueError("a base URL holds no user or password")
        parts: SplitResult = urlsplit(url)
        secure = parts.scheme == "https"
        host = parts.hostname
        port = _port(parts, 443 if secure else 80)
        if not host or not port or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is not an http:// or https:// URL of a host, a port and a path at most")
        return cls(secure, host, port, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """`host:port` as the Host header wants it: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}"


class PoolSettings(msgspec.Struct, frozen=True):
    """How to connect. Times in seconds; `unix_path` replaces host and port where it is set.

    `connect_timeout` bounds the opening of a connection (name resolution, proxy and TLS included), and the wait for
    a place in a full pool as well. Without `tls` an https origin is verified by the system's certificates.
    """

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
        self._tls = (settings.tls or client_context()) if origin.secure and settings.unix_path is None else None
        self._idle: list[ClientConnection] = []  # the last used is taken first: the others may expire
        self._all: set[ClientConnection] = set()
        self._opening = 0  # places held by whoever is opening, or has just been allowed to open, a connection
        self._waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self._expiry: LazyTimer | None = None
        self._outbox: Outbox | None = None  # made with the first connection, on its loop
        self._trusted = min(_TRUSTED_REST, settings.keepalive_expiry)
        self._retired = False
        self._closed = False

    @property
    def open_connections(self) -> int:
        """Connections now open, idle ones included."""
        return len(self._all)

    @property
    def waiting(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiters)

    @property
    def busy(self) -> bool:
        """A further request would have to wait for a connection."""
        full = not self._idle and len(self._all) + self._opening >= self._settings.size
        return full or bool(self._waiters)

    async def request(self, wire: bytes, timeouts: Timeouts) -> Incoming:
        """Send `wire` on a connection of this pool; returns the answer.

        Raises `ConnectError` (nothing was sent), `UpstreamTimeoutError`, `BrokenReplyError`, and `OverloadedError`
        when no connection became free in time. A kept connection that proves dead before anything was sent is
        replaced, unseen. A cancelled wait closes the connection.
        """
        while True:
            connection = self._take()
            if connection is None:
                connection = await self._obtain()
            kept = connection.used
            try:
                head = connection.send(wire, timeouts)
                try:
                    return await head
                except BaseException as error:
                    if isinstance(error, asyncio.CancelledError):
                        connection.give_up(head)
                    # the error remembers this frame, and the frame `head`, which holds the error: no circle may be left
                    del head
                    raise
            except ConnectError:
                if not kept:
                    raise

    def close(self) -> None:
        """Close every connection; whoever waits is refused."""
        self._closed = self._retired = True
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(self._was_closed())
        for connection in tuple(self._all):
            connection.abort()
        self._rest_no_more()

    def retire(self) -> None:
        """Close what is idle, and keep nothing after its answer: a reload has replaced this pool.

        Requests that still come are served: they began with this pool.
        """
        self._retired = True
        self._rest_no_more()

    # ---- deciding

    def _take(self) -> ClientConnection | None:
        idle = self._idle
        while idle:
            connection = idle.pop()
            rest = connection.now() - connection.idle_since
            if rest < self._trusted or (
                rest < self._settings.keepalive_expiry and connection.usable and connection.silent
            ):
                return connection
            connection.abort()
        return None

    def _give_back(self, connection: ClientConnection) -> None:
        """An answer is complete: the connection serves whoever waits, or rests."""
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(connection)
                return
        if self._retired:
            connection.abort()
            return
        now = connection.idle_since = connection.now()
        self._idle.append(connection)
        if self._expiry is None:
            self._expiry = LazyTimer(asyncio.get_running_loop(), self._expire)
        if self._expiry.due == NEVER:
            self._expiry.set(now + self._settings.keepalive_expiry)

    def _gone(self, connection: ClientConnection) -> None:
        """A connection was lost; one that never became ours counts as opening until `_open` says otherwise."""
        if connection in self._all:
            self._all.discard(connection)
            if connection in self._idle:
                self._idle.remove(connection)
            self._grant()

    def _grant(self) -> None:
        """Whoever waits longest takes what places are free."""
        while self._waiters and len(self._all) + self._opening < self._settings.size:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                self._opening += 1
                waiter.set_result(None)

    def _leave(self, waiter: _Waiter) -> None:
        """Whoever waited does no longer; what it was given already, it passes on."""
        self._waiters.pop(waiter, None)
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is None:
            self._opening -= 1
            self._grant()
        elif connection.usable:
            self._give_back(connection)

    def _expire(self) -> None:
        """Close what has rested too long: the longest rest first."""
        now = asyncio.get_running_loop().time()
        expiry = self._settings.keepalive_expiry
        fresh = [connection for connection in self._idle if now - connection.idle_since < expiry - 0.001]
        for connection in self._idle[: len(self._idle) - len(fresh)]:
            connection.abort()
        self._idle = fresh
        if fresh and self._expiry is not None:
            self._expiry.set(fresh[0].idle_since + expiry)

    def _rest_no_more(self) -> None:
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        if self._expiry is not None:
            self._expiry.close()
            self._expiry = None

    def _was_closed(self) -> ConnectError:
        return ConnectError(f"the connections to {self.origin} were closed")

    # ---- awaiting

    async def _obtain(self) -> ClientConnection:
        if self._closed:
            raise self._was_closed()
        if self._waiters or len(self._all) + self._opening >= self._settings.size:
            connection = await self._wait()
            if connection is not None:
                return connection
        else:
            self._opening += 1
        return await self._open()

    async def _wait(self) -> ClientConnection | None:
        """A connection to use, or None: a place in which to open one."""
        patience = self._settings.connect_timeout
        first = False
        try:
            async with asyncio.timeout(patience):
                while True:
                    waiter: _Waiter = asyncio.get_running_loop().create_future()
                    self._waiters[waiter] = None
                    if first:  # it was our turn, and what we were given died on the way
                        self._waiters.move_to_end(waiter, last=False)
                        self._grant()
                    try:
                        connection = await waiter
                    except asyncio.CancelledError:
                        self._leave(waiter)
                        raise
                    if connection is None or connection.usable:
                        return connection
                    first = True
        except TimeoutError:
            raise OverloadedError(
                f"all {self._settings.size} connections to {self.origin} were busy for {patience:g} s: "
                "raise connection_pool_size, or send less at once",
                retry_after=1.0,
            ) from None

    async def _open(self) -> ClientConnection:
        """Open a connection in a place that is already counted in `_opening`."""
        settings = self._settings
        loop = asyncio.get_running_loop()
        if self._outbox is None:
            self._outbox = Outbox(loop)
        connection = ClientConnection(
            loop, str(self.origin), settings.max_body, self._outbox, self._give_back, self._gone
        )
        kept = False
        try:
            async with asyncio.timeout(settings.connect_timeout):
                await self._connect(loop, connection)
            if self._closed:
                raise self._was_closed()
            if not connection.usable:
                raise ConnectError(f"{self.origin} closed the connection as soon as it was made")
            kept = True
        except (OSError, UnicodeError) as error:
            raise self._not_connected(error) from error
        finally:
            self._opening -= 1
            if kept:
                self._all.add(connection)
            else:
                connection.abort()  # made at the very moment of the time-out or cancellation
                self._grant()
        return connection

    def _not_connected(self, error: OSError | UnicodeError) -> AIClientError:
        if isinstance(error, TimeoutError) and error.errno is None:
            text = f"no connection to {self.origin} within {self._settings.connect_timeout:g} s"
            return UpstreamTimeoutError(text, phase="connect")
        if isinstance(error, ssl.SSLError):
            return ConnectError(f"no TLS with {self.origin}: {_tls_reason(error)}")
        reason = getattr(error, "strerror", None) or error
        return ConnectError(f"no connection to {self.origin}: {reason}")

    async def _connect(self, loop: asyncio.AbstractEventLoop, connection: ClientConnection) -> None:
        origin, settings, tls = self.origin, self._settings, self._tls
        if settings.unix_path is not None:
            await loop.create_unix_connection(lambda: connection, settings.unix_path)
        elif settings.proxy is not None:
            await open_tunnel(loop, settings.proxy, origin.host, origin.port, tls, lambda: connection)
        else:
            sock = await dial(loop, origin.host, origin.port)
            await loop.create_connection(
                lambda: connection, sock=sock, ssl=tls, server_hostname=origin.host if tls else None
            )


def _port(parts: SplitResult, default: int) -> int:
    """The port, or 0 where it is none."""
    try:
        return default if parts.port is None else parts.port
    except ValueError:
        return 0


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify ({error.verify_message}); for a private CA set cert_path"
    return error.reason or str(error)
