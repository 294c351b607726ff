"""A way through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6), then TLS inside."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import msgspec

from ai_client.errors import ConnectError
from ai_client.transport.dial import dial

_MAX_ANSWER = 16 * 1024


class Proxy(msgspec.Struct, frozen=True):
    """An HTTP proxy; `authorization` is the value of the Proxy-Authorization header, or empty."""

    host: str
    port: int
    authorization: str = ""

    @classmethod
    def parse(cls, url: str) -> Proxy:
        """Read `http://[user:password@]host[:port]`. Raises ValueError, which never repeats the password."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # says what it could not read, and that may be a piece of the password
            parts, port = None, None
        if parts is None or parts.scheme != "http" or not parts.hostname or port == 0 or parts.path not in ("", "/"):
            raise ValueError("a proxy is written http://[user:password@]host:port, %-escaped where need be")
        authorization = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        return cls(parts.hostname, 3128 if port is None else port, authorization)


class _Answer(asyncio.Protocol):
    """Waits for the proxy's head. In a tunnel we speak first: there is nothing beyond the head to be lost."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: str) -> None:
        self._where = where
        self._seen = b""
        # what is wrong, or None; as a result, since an exception that nobody comes to fetch would be complained of
        self.done: asyncio.Future[ConnectError | None] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        if self.done.done():
            return
        self._seen += data
        head, end, rest = self._seen.partition(b"\r\n\r\n")
        if not end:
            if len(head) > _MAX_ANSWER:
                self._refuse("does not answer like an HTTP proxy")
            return
        protocol, _, said = head.partition(b"\r\n")[0].partition(b" ")
        if not protocol.startswith(b"HTTP/1."):
            self._refuse("does not answer like an HTTP proxy")
        elif said[:1] != b"2":
            self._refuse(f"refused the tunnel: {said.decode('latin-1')[:200] or 'no status'}")
        elif rest:
            self._refuse("sent something before the tunnel was used")
        else:
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self._refuse("closed the connection")

    def _refuse(self, what: str) -> None:
        self.done.set_result(ConnectError(f"{self._where} {what}"))


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
    sock = await dial(loop, proxy.host, proxy.port)
    transport, answer = await loop.create_connection(lambda: _Answer(loop, where), sock=sock)
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        refusal = await answer.done
        if refusal is not None:
            raise refusal
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
        raise
