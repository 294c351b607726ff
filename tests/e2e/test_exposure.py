"""What other machines can reach: TLS and a token, or no start. Real daemons, real TLS clients."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ai_client.cli.probe import get_local
from ai_client.cli.reach import find_daemon
from ai_client.client import AsyncAIClient
from ai_client.clock import SystemClock
from ai_client.daemon.process import Daemon
from ai_client.errors import ConfigurationError
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from ai_client.transport.tls import Certificate, client_context
from tests.e2e.test_lifecycle import Supervisor, reload
from tests.gateway import ASK, HELLO, Sections, child, error_of, serving, simulated, write_config
from tests.running import Run
from tests.wire import CERTIFICATES, dial, get

TOKEN = "a-token-of-the-tests"
APP: Sections = {"app far": {"token_sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}}
AUTHORITY = CERTIFICATES / "ca.pem"
EVERYWHERE = "0.0.0.0:0"


def certified(folder: Path, name: str = "server.pem") -> Sections:
    """An app with a token, and a certificate in a file that can be replaced."""
    shown = folder / "shown.pem"
    shown.write_bytes((CERTIFICATES / name).read_bytes())
    shown.chmod(0o600)
    return {**APP, "daemon": {"tls_cert": shown}}


@contextlib.asynccontextmanager
async def exposed(folder: Path, *listen: str) -> AsyncIterator[tuple[Daemon, str]]:
    """A daemon that other machines can reach, and its port as seen from here."""
    async with simulated() as simulator:
        config = write_config(folder, simulator.url, certified(folder))
        async with serving(config, *(listen or (EVERYWHERE,))) as (daemon, _):
            address = next(bound for bound in daemon.bound if bound.startswith("https://"))
            yield daemon, f"https://localhost:{address.rpartition(':')[2]}"


def trusting(url: str, token: str = TOKEN, context: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    context = context or client_context(ca_bundle=AUTHORITY)
    return httpx.AsyncClient(base_url=url, verify=context, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({}, ["no [app NAME] with a token_sha256", "there is no certificate"]),
        (APP, ["there is no certificate"]),
        (
            {"app near": {"uid": 1000}, "daemon": {"tls_cert": CERTIFICATES / "server.pem"}},
            ["no [app NAME] with a token"],
        ),
    ],
)
def test_it_does_not_start_without_both(run: Run, tmp_path: Path, sections: Sections, says: list[str]) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "http://127.0.0.1:1/v1", sections)
        with pytest.raises(ConfigurationError) as caught:
            async with serving(config, EVERYWHERE):
                pass
        assert len(caught.value.problems) == len(says)
        for problem, part in zip(caught.value.problems, says, strict=True):
            assert part in problem

    run(scene())


def test_metrics_for_everybody_are_a_decision(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        wide = {"metrics_host": "0.0.0.0"}  # noqa: S104
        config = write_config(tmp_path, "http://127.0.0.1:1/v1", {"monitoring": wide})
        with pytest.raises(ConfigurationError, match="metrics_public"):
            async with serving(config):
                pass
        write_config(tmp_path, "http://127.0.0.1:1/v1", {"monitoring": {**wide, "metrics_public": "yes"}})
        async with serving(config):
            pass

    run(scene())


def test_with_a_token_over_tls_a_call_is_answered(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed(tmp_path) as (_, url):
            async with trusting(url) as client:
                answer = await client.post("/v1/chat/completions", json=ASK)
                assert answer.status_code == 200
                assert (await client.get("/metrics")).status_code == 200
            async with AsyncAIClient.local(url, token=TOKEN, config=with_authority(tmp_path)) as ours:
                assert (await ours.chat_completion(HELLO, model="gpt-4.1"))["choices"]

    run(scene())


def with_authority(folder: Path) -> Path:
    path = folder / "client.conf"
    path.write_text(f"[security]\ncert_path = {AUTHORITY}\n")
    return path


@pytest.mark.parametrize("token", ["", "wrong"])
def test_whoever_is_unknown_learns_that_it_lives_and_nothing_else(run: Run, tmp_path: Path, token: str) -> None:
    async def scene() -> None:
        async with exposed(tmp_path) as (_, url), trusting(url, token) as client:
            assert (await client.get("/health/live")).status_code == 200
            for path in ("/health/ready", "/metrics", "/v1/models", "/nowhere"):
                answer = await client.get(path)
                assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
            assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 401

    run(scene())


def test_this_nodes_own_programs_need_no_tls(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed(tmp_path, "127.0.0.1:0", EVERYWHERE) as (daemon, url):
            near = f"http://{daemon.bound[0]}"
            async with httpx.AsyncClient(base_url=near) as client:
                assert (await client.get("/health/ready")).json()["status"] == "ready"
                assert (await client.get("/v1/models")).status_code == 401  # but they need a token, as before
            async with trusting(url) as client:
                assert (await client.get("/v1/models")).status_code == 200

    run(scene())


def test_plain_http_gets_nothing_from_a_tls_listener(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed(tmp_path) as (_, url):
            async with dial(("127.0.0.1", int(url.rpartition(":")[2]))) as raw:
                raw.send(get("/health/live"))
                assert b"HTTP/1.1" not in await raw.ended()
            async with trusting(url) as client:
                assert (await client.get("/health/live")).status_code == 200

    run(scene())


def test_tls_11_is_refused(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        old = client_context(ca_bundle=AUTHORITY)
        old.set_ciphers("ALL:@SECLEVEL=0")  # or it would be this client that refuses
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        async with exposed(tmp_path) as (_, url), trusting(url, context=old) as client:
            with pytest.raises(httpx.ConnectError):  # a Python of another version says it in other words
                await client.get("/health/live")
            old.maximum_version = ssl.TLSVersion.TLSv1_2
            assert (await client.get("/health/live")).status_code == 200

    run(scene())


def test_a_reload_shows_the_new_certificate(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed(tmp_path) as (daemon, url), trusting(url) as client:
            assert (await client.get("/health/live")).status_code == 200
            certified(tmp_path, "renewed.pem")
            await daemon.reload()
            assert await shown(url) == "renewed"
            assert (await client.get("/v1/models")).status_code == 200  # on the connection it had

    run(scene())


def test_a_reload_with_a_broken_certificate_keeps_the_old_one(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed(tmp_path) as (daemon, url):
            shown_file = tmp_path / "shown.pem"
            shown_file.write_bytes(shown_file.read_bytes()[:-200])
            await daemon.reload()
            assert "cannot be used" in daemon._handler.state.reload_failed
            assert await shown(url) == "localhost"
            write_config(tmp_path, "http://127.0.0.1:1/v1", APP)  # and one that takes it away is refused whole
            await daemon.reload()
            assert "there is no certificate" in daemon._handler.state.reload_failed
            assert await shown(url) == "localhost"

    run(scene())


async def shown(url: str) -> str:
    """The common name of the certificate at this URL."""
    context = client_context(ca_bundle=AUTHORITY)
    port = int(url.rpartition(":")[2])
    async with dial(("127.0.0.1", port), ssl=context, server_hostname="localhost") as raw:
        subject = dict(pair for (pair,) in raw.writer.get_extra_info("peercert")["subject"])
    return str(subject["commonName"])


@pytest.mark.parametrize("name", ["server.pem", "expired.pem", "elsewhere.pem", "selfsigned.pem"])
def test_towards_a_provider_only_a_certificate_that_holds_is_trusted(run: Run, tmp_path: Path, name: str) -> None:
    """Expired, of another host, signed by nobody: refused before the key leaves, and never tried without TLS."""

    async def scene() -> None:
        async with exposed_provider(name) as (url, seen):
            sections = {"security": {"cert_path": AUTHORITY}}
            config = write_config(tmp_path, f"{url}/v1", sections)
            async with serving(config) as (_, near), httpx.AsyncClient(base_url=near, timeout=30) as client:
                answer = await client.post("/v1/chat/completions", json=ASK)
            if name == "server.pem":
                assert answer.status_code == 200
                assert seen
            else:
                assert (answer.status_code, error_of(answer)["code"]) == (502, "connect_error")
                assert not seen

    run(scene())


def test_without_verification_it_is_said_everywhere(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed_provider("selfsigned.pem") as (url, seen):
            sections = {"security": {"verify_ssl": "false"}}
            config = write_config(tmp_path, f"{url}/v1", sections)
            async with serving(config) as (_, near), httpx.AsyncClient(base_url=near, timeout=30) as client:
                assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
                assert seen
                (provider,) = (await client.get("/health/ready")).json()["providers"].values()
                assert provider["verify_ssl"] is False
                assert "\nai_client_tls_verification_off 1.0\n" in (await client.get("/metrics")).text
        assert "ANYBODY ON THE WAY CAN READ" in (tmp_path / "logs" / "daemon.log").read_text()

    run(scene())


@contextlib.asynccontextmanager
async def exposed_provider(name: str) -> AsyncIterator[tuple[str, list[str]]]:
    """A provider that shows this certificate, and the paths that it was asked for."""
    seen: list[str] = []

    def answer(request: Request, exchange: Exchange) -> None:
        seen.append(request.path)
        exchange.send(
            200,
            ((b"content-type", b"application/json"),),
            b'{"model": "gpt-4.1", "choices": [{"finish_reason": "stop"}]}',
        )

    server = Server(answer)
    host, port = await server.listen_tcp("127.0.0.1", 0, Certificate(CERTIFICATES / name, None).context)
    try:
        yield f"https://{host}:{port}", seen
    finally:
        server.close()


def test_a_sighup_shows_the_renewed_certificate(run: Run, tmp_path: Path) -> None:
    """The process itself, as a renewal on a node does it."""

    async def scene() -> None:
        with Supervisor(tmp_path / "notify") as supervisor:
            async with simulated() as simulator:
                config = write_config(tmp_path, simulator.url, certified(tmp_path))
                environ = {"NOTIFY_SOCKET": str(supervisor.path)}
                async with child(config, EVERYWHERE, environ=environ) as served:
                    assert (await supervisor.heard()).startswith("READY=1")
                    url = served.said.rpartition(" ")[2]
                    assert await shown(url) == "localhost"
                    certified(tmp_path, "renewed.pem")
                    await reload(served.process.pid, supervisor)
                    assert await shown(url) == "renewed"

    run(scene())


def test_this_nodes_commands_pass_over_what_speaks_tls(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with exposed(tmp_path) as (_, url):
            address = url.replace("localhost", "127.0.0.1")
            assert (await get_local(address, "/health/live", SystemClock())).status == 200
            assert await find_daemon([address], SystemClock()) is None

    run(scene())
