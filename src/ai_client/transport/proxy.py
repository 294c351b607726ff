"""A way through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6), then TLS inside."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import msgspec

from ai_client.errors import ConnectError

_MAX_ANSWER = 16 * 1024


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy; `authorization` is the value of the Proxy-Authorization header, or empty."""

    host: str
    port: int
    authorization: str = ""

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read `http://[user:password@]host[:port]`. Raises ValueError, which never repeats the password."""
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError("a proxy is written http://[user:password@]host:port")
        authorization = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(parts.hostname, parts.port or 3128, authorization)


class _Answer(asyncio.Protocol):
    """Waits for the proxy's head, and reads nothing beyond it: what follows belongs to the tunnel."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: str) -> None:
        self._where = where
        self._seen = b""
        self.done: asyncio.Future[None] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        self._seen += data
        if b"\r\n\r\n" in self._seen:
            status = self._seen.split(b"\r\n", 1)[0].split(b" ", 2)
            if len(status) >= 2 and status[1][:1] == b"2":
                self.done.set_result(None)
            else:
                said = b" ".join(status[1:]).decode("latin-1")[:200]
                self.done.set_exception(ConnectError(f"{self._where} refused the tunnel: {said or 'no status'}"))
        elif len(self._seen) > _MAX_ANSWER:
            self.done.set_exception(ConnectError(f"{self._where} does not answer like an HTTP proxy"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectError(f"{self._where} closed the connection"))


async def open_tunnel(
    loop: asyncio.AbstractEventLoop,
    proxy: Proxy,
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    make: Callable[[], asyncio.Protocol],
) -> None:
    """Connect `make()` to `host:port` through `proxy`, inside TLS where `tls` is given.

    Raises `ConnectError` when the proxy refuses, OSError when it cannot be reached.
    """
    where = f"the proxy {proxy.host}:{proxy.port}"
    transport, answer = await loop.create_connection(lambda: _Answer(loop, where), proxy.host, proxy.port)
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        await answer.done
        protocol = make()
        if tls is None:
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
        else:
            inner = await loop.start_tls(transport, protocol, tls, server_hostname=host)
            if inner is None:
                raise ConnectError(f"{where} closed the connection during the TLS handshake")
            protocol.connection_made(inner)
    except BaseException:
        transport.abort()
        if answer.done.done() and not answer.done.cancelled():
            answer.done.exception()  # heard, so that the loop does not complain
        raise
