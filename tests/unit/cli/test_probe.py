"""One GET: where daemons are, and what is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.cli.probe import daemon_at, get, get_local
from ai_client.clock import SystemClock
from ai_client.errors import ConfigurationError, ConnectError
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.pool import Origin, PoolSettings
from ai_client.transport.server import Server
from tests.running import Run


def test_where_a_daemon_is() -> None:
    origin, path = daemon_at("[::1]:80")
    assert (origin.authority, path) == ("[::1]", None)
    assert daemon_at("unix:/run/a.sock")[1] == "/run/a.sock"
    with pytest.raises(ConfigurationError, match="write HOST:PORT"):
        daemon_at("nowhere")


def test_it_asks_below_the_base_url_with_the_key_and_over_a_unix_socket(run: Run, tmp_path: Path) -> None:
    seen: list[tuple[str, str, bytes | None]] = []

    def answer(request: Request, exchange: Exchange) -> None:
        seen.append((request.method, request.path, request.header(b"authorization")))
        exchange.send(200, (), b"hello")

    async def scene() -> None:
        server = Server(answer)
        host, port = await server.listen_tcp("127.0.0.1", 0)
        await server.listen_unix(tmp_path / "s")
        origin = Origin.parse(f"http://{host}:{port}/api/v1")
        found = await get(origin, "/models", PoolSettings(), SystemClock(), key="k")
        assert (found.status, found.body, found.latency_ns > 0) == (200, b"hello", True)
        assert (await get_local(f"unix:{tmp_path / 's'}", "/x", SystemClock())).body == b"hello"
        server.close()
        with pytest.raises(ConnectError):
            await get_local(f"{host}:{port}", "/x", SystemClock())

    run(scene())
    assert seen == [("GET", "/api/v1/models", b"Bearer k"), ("GET", "/x", None)]
