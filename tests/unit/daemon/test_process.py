"""The daemon's beginning and end, where things go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httpx
import pytest
from msgspec import structs

from ai_client.config.load import Loaded, load
from ai_client.daemon import process
from ai_client.daemon.process import Daemon, _address_of
from ai_client.errors import ConfigurationError
from ai_client.service import Service
from ai_client.transport.server import ServerLimits
from tests.gateway import ASK, error_of, serving, simulated, write_config
from tests.running import Run


def reads(path: Path) -> Callable[[], Loaded]:
    return lambda: load(path, {})


def test_an_address_that_is_taken_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "http://127.0.0.1:1/v1")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listen = (f"unix:{tmp_path / 's'}", f"127.0.0.1:{taken.getsockname()[1]}")
            with pytest.raises(OSError, match="in use"):
                await Daemon(reads(config), listen, {}).start()
        assert not (tmp_path / "s").exists()

    run(scene())


@pytest.mark.parametrize("listen", [("nonsense",), ("0.0.0.0:0",)])
def test_a_wrong_address_is_said_before_anything_is_opened(run: Run, tmp_path: Path, listen: tuple[str]) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "http://127.0.0.1:1/v1")
        with pytest.raises(ConfigurationError):
            await Daemon(reads(config), listen, {}).start()
        assert not (tmp_path / "logs").exists()

    run(scene())


BROKEN_PEM = "-----BEGIN CERTIFICATE-----\nbroken\n-----END CERTIFICATE-----\n"
"""Looks like a certificate until somebody reads it."""


def test_what_shows_only_when_it_is_tried_is_a_configuration_mistake(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "https://127.0.0.1:1/v1")
        (tmp_path / "ca.pem").write_text(BROKEN_PEM)
        loaded = with_certificates(load(config, {}), tmp_path / "ca.pem")
        with pytest.raises(ConfigurationError, match=r"ca\.pem cannot be used"):
            await Daemon(lambda: loaded, ("127.0.0.1:0",), {}).start()

    run(scene())


def with_certificates(loaded: Loaded, path: Path) -> Loaded:
    """The configuration, after a file that it names has changed since it was checked."""
    providers = {name: structs.replace(provider, cert_path=path) for name, provider in loaded.config.providers.items()}
    return structs.replace(loaded, config=structs.replace(loaded.config, providers=providers))


def test_a_reload_that_only_fails_when_it_is_tried_is_refused_too(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated() as simulator, serving(write_config(tmp_path, simulator.url)) as (daemon, _):
            service = daemon._handler.service
            (tmp_path / "ca.pem").write_text(BROKEN_PEM)
            changed = with_certificates(load(write_config(tmp_path, "https://127.0.0.1:1/v1"), {}), tmp_path / "ca.pem")
            daemon._load = lambda: changed
            await daemon.reload()
            assert daemon._handler.service is service
            assert "cannot be used" in daemon._handler.state.reload_failed

    run(scene())


def test_warnings_of_the_configuration_are_logged(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with serving(write_config(tmp_path, "http://127.0.0.1:1/v1", {"performance": {"rate_limit": 60}})):
            pass
        assert "rate_limit" in (tmp_path / "logs" / "daemon.log").read_text()

    run(scene())


def test_the_watchdog_is_petted_twice_as_often_as_it_asks(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(str(tmp_path / "notify"))
            supervisor.setblocking(False)
            environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "2000"}
            async with serving(write_config(tmp_path, "http://127.0.0.1:1/v1"), environ=environ):
                assert (await loop.sock_recv(supervisor, 999)).startswith(b"READY=1")
                for _ in range(3):
                    assert await loop.sock_recv(supervisor, 999) == b"WATCHDOG=1"

    run(scene())


def test_the_address_of_a_socket() -> None:
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0ai-client-test")
        assert _address_of(abstract).local
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as tcp:
        assert str(_address_of(tcp)) == f"[::1]:{tcp.getsockname()[1]}"


def test_inherited_sockets_are_given_back_when_it_cannot_begin(run: Run, tmp_path: Path) -> None:
    """With no token, a socket that systemd opened to the network is refused like any other."""

    async def scene() -> None:
        config = write_config(tmp_path, "http://127.0.0.1:1/v1")
        daemon = Daemon(reads(config), (), {})
        exposed = socket.socket()
        exposed.bind(("0.0.0.0", 0))  # noqa: S104  bound, and never listened on
        with pytest.raises(ConfigurationError, match="can be reached from other machines"):
            await daemon._start(load(config, {}), [exposed])
        assert exposed.fileno() == -1

    run(scene())


def test_a_defect_is_a_plain_500_and_a_line_in_the_log(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "http://127.0.0.1:1/v1", {"monitoring": {"enable_metrics": "false"}})
        async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
            service = daemon._handler.service
            daemon._handler.service = cast("Service", None)
            answer = await client.get("/v1/models")
            assert (answer.status_code, error_of(answer)["code"]) == (500, "internal")
            daemon._handler.service = service
            await daemon.reload()  # counts nothing, and works all the same
            assert (await client.get("/v1/models")).status_code == 200
        assert '"internal_error"' in (tmp_path / "logs" / "daemon.log").read_text()

    run(scene())


def test_a_caller_that_repeats_its_head_is_asked_again_after_a_reload(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated() as simulator:

            def trust(token: bytes) -> Path:
                apps = {"app web": {"token_sha256": hashlib.sha256(token).hexdigest()}}
                return write_config(tmp_path, simulator.url, apps)

            headers = {"authorization": "Bearer first"}
            async with (
                serving(trust(b"first")) as (daemon, url),
                httpx.AsyncClient(base_url=url, headers=headers) as client,
            ):
                for _ in range(2):
                    assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
                trust(b"second")
                await daemon.reload()
                assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 401

    run(scene())


def test_every_bound_of_the_daemon_reaches_its_server(run: Run, tmp_path: Path) -> None:
    bounds = {
        "max_body_mb": 2,
        "max_header_kb": 3,
        "max_headers": 4,
        "header_timeout": 5,
        "body_timeout": 6,
        "keepalive_timeout": 7,
        "max_connections": 8,
        "write_timeout": 9,
        "max_arriving_mb": 10,
    }

    async def scene() -> None:
        async with serving(write_config(tmp_path, "http://127.0.0.1:1/v1", {"daemon": bounds})) as (daemon, _):
            limits = ServerLimits(
                max_body=2 << 20,
                max_header=3 << 10,
                max_headers=4,
                header_timeout=5,
                body_timeout=6,
                keepalive_timeout=7,
                max_connections=8,
                write_timeout=9,
                max_arriving=10 << 20,
            )
            # of this node, of the network, of the metrics
            assert [server.limits for server in daemon._servers] == [limits] * 3

    run(scene())


def test_memory_is_weighed_where_it_is_bounded(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = iter([50 << 20, 90 << 20, 40 << 20, 90 << 20])
    monkeypatch.setattr(process, "resident_bytes", lambda: next(weights))
    monkeypatch.setattr(process, "give_back", iter([True, False]).__next__)

    async def scene() -> None:
        bound = {"admission": {"max_rss_mb": 100, "low_priority_percent": 80}}
        async with serving(write_config(tmp_path, "http://127.0.0.1:1/v1", bound)) as (daemon, _):
            for task in daemon._tasks:
                task.cancel()  # it would be weighed every second besides
            admission = daemon._shared.admission
            daemon.weigh()
            assert (admission.resident >> 20, admission.tight) == (50, False)
            daemon.weigh()
            assert (admission.resident >> 20, admission.tight) == (40, False), "what was free went back"
            daemon.weigh()
            assert (admission.resident >> 20, admission.tight) == (90, True)
        async with serving(write_config(tmp_path, "http://127.0.0.1:1/v1")) as (daemon, _):
            daemon.weigh()
            assert daemon._shared.admission.resident == 0

    run(scene())
