"""The HTTP/1.1 server: listeners, their connections, and a graceful end.

One request's way through it is in `server_connection.py`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from ai_client.transport.exchange import Exchange, Handler, Request
from ai_client.transport.outbox import Outbox
from ai_client.transport.request_reader import Arriving, Refusal, ServerLimits
from ai_client.transport.server_connection import ServerConnection

__all__ = ["Exchange", "Handler", "Request", "Server", "ServerLimits"]

_BACKLOG = 4096  # connections that the kernel holds until they are accepted; it caps this at net.core.somaxconn


class Server:
    """Serves `handler` on any number of listeners; made on the loop that it serves on.

    `on_crash` hears of an exception that a handler let escape (the client gets a plain 500): it is a defect of
    the handler, never of the request.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        *,
        on_crash: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits or ServerLimits()
        self.on_crash = on_crash
        self.draining = self.closed = False
        self.loop = asyncio.get_running_loop()
        self.outbox = Outbox(self.loop)
        self.arriving = Arriving(self.limits.max_arriving)
        self.connections: set[ServerConnection] = set()
        self._turned_away: set[ServerConnection] = set()
        self._listeners: list[asyncio.Server] = []
        self._sockets: list[tuple[Path, int]] = []
        self._empty: asyncio.Future[None] | None = None

    async def listen_tcp(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> tuple[str, int]:
        """Listen on `host:port`; port 0 picks one. Returns what was bound. Raises OSError when it cannot."""
        listener = await self.loop.create_server(
            self._connection,
            host,
            port,
            ssl=tls,
            ssl_handshake_timeout=self.limits.header_timeout if tls else None,
            backlog=_BACKLOG,
            reuse_address=True,
        )
        self._listeners.append(listener)
        bound = listener.sockets[0].getsockname()
        return bound[0], bound[1]

    async def listen_unix(self, path: str | Path, mode: int = 0o660) -> None:
        """Listen on a Unix socket. A socket that a dead process left at `path` is replaced; anything else is not.

        Raises OSError (`EADDRINUSE`) when another process answers there or when the file is no socket.
        """
        path = Path(path)
        _clear_dead_socket(path)
        # bound and closed to others before the first connection can be made
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            path.chmod(mode)
            inode = path.stat().st_ino
            listener = await self.loop.create_unix_server(self._connection, sock=sock, backlog=_BACKLOG)
        except BaseException:
            sock.close()
            raise
        self._listeners.append(listener)
        self._sockets.append((path, inode))

    async def adopt(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        """Serve on a listening socket that somebody else opened, as systemd does."""
        sock.setblocking(False)
        make = self.loop.create_unix_server if sock.family == socket.AF_UNIX else self.loop.create_server
        patience = self.limits.header_timeout if tls else None
        listener = await make(self._connection, sock=sock, ssl=tls, ssl_handshake_timeout=patience, backlog=_BACKLOG)
        self._listeners.append(listener)

    @property
    def in_flight(self) -> int:
        """Requests being answered now."""
        return sum(1 for connection in self.connections if connection.busy)

    async def drain(self, grace: float) -> bool:
        """Take no new connection, finish what is in flight, then close. True when `grace` seconds were enough."""
        self.draining = True
        self._stop_listening()
        # whom the kernel handed over in this very turn is heard of in the next one, and was not refused
        await asyncio.sleep(0)
        for connection in tuple(self.connections):
            connection.drain()
        finished = await self._emptied(grace)
        self.close()
        # what was cut off hears of it before this returns, and can still say so
        await self._emptied(grace)
        return finished

    def close(self) -> None:
        """Close listeners and connections at once."""
        self.draining = self.closed = True
        self._stop_listening()
        for connection in (*self.connections, *self._turned_away):
            connection.abort()

    # ---- the connections' side

    def admit(self, connection: ServerConnection) -> Refusal | None:
        """A connection is made: count it, or say why not."""
        if self.closed:
            refusal = Refusal(503, "overloaded", "this daemon is shutting down: try again")
        elif len(self.connections) >= self.limits.max_connections:
            refusal = Refusal(
                503, "overloaded", "too many connections to this daemon: try again, or raise max_connections"
            )
        else:
            self.connections.add(connection)
            return None
        self._turned_away.add(connection)
        return refusal

    def forget(self, connection: ServerConnection) -> None:
        """A connection is gone."""
        self._turned_away.discard(connection)
        self.connections.discard(connection)
        if self._empty is not None and not self.connections and not self._empty.done():
            self._empty.set_result(None)

    def _connection(self) -> ServerConnection:
        return ServerConnection(self)

    async def _emptied(self, patience: float) -> bool:
        if self.connections:
            if self._empty is None or self._empty.done():
                self._empty = self.loop.create_future()
            await asyncio.wait([self._empty], timeout=patience)
        return not self.connections

    def _stop_listening(self) -> None:
        # the file first: once nobody listens, a successor may put its own socket there
        for path, inode in self._sockets:
            try:
                if path.stat().st_ino == inode:
                    path.unlink()
            except FileNotFoundError:
                pass
        self._sockets.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()


def _clear_dead_socket(path: Path) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket; name another path or remove the file")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog says EAGAIN: somebody is there
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, f"another process already listens on {path}; stop it or name another path")
