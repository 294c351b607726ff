"""One GET, answered within a short time or not: how commands look at a provider or a daemon."""

from __future__ import annotations

from typing import Final

import msgspec

from ai_client._version import __version__
from ai_client.clock import Clock
from ai_client.daemon.listen import parse_address
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.timer import Timeouts
from ai_client.transport.tls import client_context

PATIENCE_S: Final = 3.0
"""Seconds that an answer may take, unless told otherwise."""

_MOST: Final = 32 << 20


class Answer(msgspec.Struct, frozen=True):
    """What came back; `latency_ns` runs from the first step of connecting to the last byte."""

    status: int
    body: bytes
    latency_ns: int


def daemon_at(address: str) -> tuple[Origin, str | None]:
    """Origin and Unix socket of a daemon at `HOST:PORT`, `[IPv6]:PORT`, `https://HOST:PORT` or `unix:PATH`.

    Raises `ConfigurationError` for anything else.
    """
    parsed = parse_address(address)
    if parsed.path is not None:
        return Origin(secure=False, host="localhost", port=80, path=""), str(parsed.path)
    return Origin(secure=parsed.tls, host=parsed.host, port=parsed.port, path=""), None


async def get(
    origin: Origin, path: str, settings: PoolSettings, clock: Clock, *, key: str = "", patience: float = PATIENCE_S
) -> Answer:
    """GET `path`, below the origin's own, with `key` as a bearer token.

    Raises `UpstreamError`, or `UpstreamTimeoutError` after `patience` seconds.
    """
    lines = [
        f"GET {origin.path}{path} HTTP/1.1",
        f"host: {origin.authority}",
        f"user-agent: ai-client/{__version__}",
        "accept: application/json, text/plain",
        "accept-encoding: identity",
        "connection: close",
        *([f"authorization: Bearer {key}"] if key else []),
    ]
    pool = Pool(origin, settings)
    began = clock.monotonic_ns()
    try:
        incoming = await pool.request(
            ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), Timeouts(patience, patience, patience)
        )
        body = await incoming.read_all(_MOST)
    finally:
        pool.close()
    return Answer(incoming.status, body, clock.monotonic_ns() - began)


async def get_local(address: str, path: str, clock: Clock, *, patience: float = PATIENCE_S) -> Answer:
    """GET `path` of this node's daemon at `address`.

    Raises `ConfigurationError` for a wrong address, else as `get` does. Its certificate is not checked: that names no
    loopback address, and nothing secret is said here.
    """
    origin, unix_path = daemon_at(address)
    tls = client_context(verify=False) if origin.secure else None
    settings = PoolSettings(size=1, connect_timeout=patience, unix_path=unix_path, tls=tls)
    return await get(origin, path, settings, clock, patience=patience)
