"""The daemon's life: readiness, reloads, the end, who may call, and what it leaves in its logs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest

from ai_client.config.load import load
from ai_client.daemon.listen import parse_address
from ai_client.errors import ConfigurationError
from tests.gateway import (
    ASK,
    COMMAND,
    KEY,
    Sections,
    child,
    error_of,
    gateway,
    recorder,
    serving,
    simulated,
    write_config,
)
from tests.running import Run
from tests.wire import dial, get, post, until

CHAT = "/v1/chat/completions"


class Supervisor:
    """The end of systemd's: a datagram socket that collects what a service says of itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def heard(self) -> str:
        """The next thing that it says."""
        return (await asyncio.get_running_loop().sock_recv(self._socket, 4096)).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


def test_a_service_tells_that_it_is_ready_and_reloads_on_sighup(run: Run, tmp_path: Path) -> None:
    """A reload that works, and a configuration that is refused whole: the last good one stays."""

    async def scene() -> None:
        with Supervisor(tmp_path / "notify") as supervisor:
            await heard(supervisor)

    async def heard(supervisor: Supervisor) -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url)
            environ = {"NOTIFY_SOCKET": str(supervisor.path), "WATCHDOG_USEC": "3600000000"}
            async with child(config, environ=environ) as served, httpx.AsyncClient(base_url=served.url) as client:
                said = {await supervisor.heard(), await supervisor.heard()}
                assert said == {f"READY=1\nSTATUS=serving on {served.url[7:]}", "WATCHDOG=1"}

                unknown = await client.post(CHAT, json={**ASK, "model": "fast"})
                assert unknown.status_code == 404
                write_config(tmp_path, upstream.url, {"routing": {"aliases": "fast: gpt-4.1"}})
                await reload(served.process.pid, supervisor)
                assert (await client.post(CHAT, json={**ASK, "model": "fast"})).status_code == 200

                config.write_text(config.read_text() + "[api]\ntimeout = -1\n[cachin]\nx = 1\n")
                await reload(served.process.pid, supervisor)
                health = (await client.get("/health/ready")).json()
                assert health["status"] == "ready"
                assert "timeout" in health["reload_failed"]
                assert "cachin" in health["reload_failed"]
                assert (await client.post(CHAT, json={**ASK, "model": "fast"})).status_code == 200
                metrics = (await client.get("/metrics")).text
                counted = {line for line in metrics.splitlines() if "reload" in line and not line.startswith("#")}
                assert any(line.endswith(" 1.0") and "refused" in line for line in counted), counted

                write_config(tmp_path, upstream.url)
                await reload(served.process.pid, supervisor)
                assert (await client.get("/health/ready")).json()["reload_failed"] is None

    run(scene())


def test_sigterm_drains(run: Run, tmp_path: Path) -> None:
    """What is under way is finished; whoever comes now is refused."""

    async def scene() -> None:
        with Supervisor(tmp_path / "notify") as supervisor:
            await heard(supervisor)

    async def heard(supervisor: Supervisor) -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url)
            environ = {"NOTIFY_SOCKET": str(supervisor.path)}
            async with child(config, environ=environ) as served, httpx.AsyncClient(base_url=served.url) as client:
                assert (await supervisor.heard()).startswith("READY=1")
                upstream.hold = True
                under_way = asyncio.create_task(client.post(CHAT, json=ASK))
                await until(lambda: upstream.held)
                served.signal(signal.SIGTERM)
                assert await supervisor.heard() == "STOPPING=1"
                while not await refused(served.url):
                    pass
                upstream.release()
                last = await under_way
                assert last.status_code == 200
                assert last.headers["connection"] == "close"
                assert await served.ended() == (0, "")

    run(scene())


def test_who_presses_ctrl_c_is_told_what_it_waits_for_and_a_second_one_waits_no_longer(
    run: Run, tmp_path: Path
) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            upstream.hold = True
            async with (
                child(write_config(tmp_path, upstream.url)) as served,
                httpx.AsyncClient(base_url=served.url) as client,
            ):
                under_way = asyncio.create_task(client.post(CHAT, json=ASK))
                await until(lambda: upstream.held)
                served.signal(signal.SIGINT)
                assert served.process.stderr is not None
                said = (await served.process.stderr.readline()).decode()
                assert said == "stopping; 30 s for what is under way, calls: 1 (once more: at once)\n"
                served.signal(signal.SIGINT)
                with pytest.raises(httpx.TransportError):
                    await under_way
                assert await served.ended() == (0, "")

    run(scene())


async def reload(pid: int, supervisor: Supervisor) -> None:
    """Send SIGHUP, and wait until it is done."""
    os.kill(pid, signal.SIGHUP)
    begun = await supervisor.heard()
    assert begun.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert await supervisor.heard() == "READY=1"


async def refused(url: str) -> bool:
    """Nobody listens there any more."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue of a listener that has just been closed
        return False
    writer.close()
    return False


def test_a_drain_that_takes_too_long_is_cut_off(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url, {"daemon": {"drain_timeout": 0.05}})
            upstream.hold = True
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                under_way = asyncio.create_task(client.post(CHAT, json=ASK))
                await until(lambda: upstream.held)
                daemon.stop()
                await daemon.wait()
                with pytest.raises(httpx.TransportError):
                    await under_way
                await until(lambda: upstream.left)
        journal = [json.loads(line) for line in (tmp_path / "logs" / "daemon.log").read_text().splitlines()]
        assert [line["event"] for line in journal][:2] == ["ready", "stopped"]
        assert journal[1]["drained"] is False

    run(scene())


def test_a_call_under_way_keeps_the_configuration_that_it_began_with(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as old, recorder() as new:
            config = write_config(tmp_path, old.url)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                old.hold = True
                under_way = asyncio.create_task(client.post(CHAT, json=ASK))
                await until(lambda: old.held)
                write_config(tmp_path, new.url)
                await asyncio.gather(daemon.reload(), daemon.reload())  # the second waits for none, and is not lost
                new.answer = b'{"model": "new", "choices": [{"finish_reason": "stop"}]}'
                assert (await client.post(CHAT, json=ASK)).content == new.answer
                old.release()
                assert (await under_way).content == old.answer
                assert len(old.requests) == len(new.requests) == 1

    run(scene())


def test_a_reload_says_what_wants_a_restart(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url)
            async with serving(config) as (daemon, _):
                write_config(tmp_path, simulator.url, {"daemon": {"max_body_mb": 1}})
                await daemon.reload()
        journal = (tmp_path / "logs" / "daemon.log").read_text()
        assert '"after_restart":"daemon"' in journal

    run(scene())


def test_a_reload_takes_over_which_answers_are_kept(run: Run, tmp_path: Path) -> None:
    """And does not say that this wants a restart."""

    async def scene() -> None:
        async with simulated() as simulator:
            kept = {"enabled": "yes", "persistent": "no"}
            config = write_config(tmp_path, simulator.url, {"caching": kept})
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                found = [(await client.post(CHAT, json=ASK)).headers.get("x-ai-client-cache") for _ in range(2)]
                for change in ({"ttl_seconds": "0"}, {"scope": "deterministic"}):
                    write_config(tmp_path, simulator.url, {"caching": kept | change})
                    await daemon.reload()
                    found.append((await client.post(CHAT, json=ASK)).headers.get("x-ai-client-cache"))
                assert found == ["miss", "hit", None, None]
        assert (tmp_path / "logs" / "daemon.log").read_text().count('"after_restart":""') == 2

    run(scene())


def test_sockets_that_systemd_opened(run: Run, tmp_path: Path) -> None:
    """LISTEN_FDS: both kinds, handed over from descriptor 3 on, through a shell that knows its own pid."""

    async def scene() -> None:
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url)
            path = tmp_path / "s"
            with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
                unix.bind(str(path))
                unix.listen()
                script = (
                    f"exec 3<&{tcp.fileno()} 4<&{unix.fileno()}; LISTEN_PID=$$ LISTEN_FDS=2 "
                    f'exec "$COMMAND" serve --config "{config}" --listen 127.0.0.1:1'
                )
                process = await asyncio.create_subprocess_exec(
                    *("bash", "-c", script),
                    env={**os.environ, "COMMAND": COMMAND},
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=(tcp.fileno(), unix.fileno()),
                )
                assert process.stderr is not None
                said = (await process.stderr.readline()).decode().strip()
                port = tcp.getsockname()[1]
                assert said == f"ai-client serves on 127.0.0.1:{port}, unix:{path}"
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                assert (await client.post(CHAT, json=ASK)).status_code == 200
            async with dial(path) as raw:
                raw.send(get("/health/live"))
                assert (await raw.answer()).status == 200
            process.terminate()
            assert (await process.stderr.read()).decode() == told_of_logs(config)
            assert await process.wait() == 0

    run(scene())


def test_what_is_doubtful_is_told_at_the_start(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "https://192.0.2.1/v1", {"security": {"verify_ssl": "false"}})
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "serve", "--config", str(config), "--listen", "127.0.0.1:0"), stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        said = [(await process.stderr.readline()).decode() for _ in range(3)]
        process.terminate()
        assert await process.wait() == 0
        assert said[0].startswith("ai-client serves on ")
        assert said[1] == told_of_logs(config)
        assert said[2].startswith("warning: provider holysheep: verify_ssl = false")

    run(scene())


def test_an_address_that_is_taken(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            config = write_config(tmp_path, "http://127.0.0.1:1/v1")
            listen = f"127.0.0.1:{taken.getsockname()[1]}"
            code, said = await outcome(config, "--listen", listen)
            assert code == 1
            assert (
                said == f"ai-client: cannot listen on {listen}: Address already in use; `ss -ltnp` tells who has it\n"
            )
            code, said = await outcome(config, "--listen", f"unix:{tmp_path}/none/sock")
            assert (code, said) == (
                1,
                f"ai-client: cannot listen on unix:{tmp_path}/none/sock: No such file or directory\n",
            )

    run(scene())


def test_what_everybody_could_reach_is_refused(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        config = write_config(tmp_path, "http://127.0.0.1:1/v1")
        code, said = await outcome(config, "--listen", "0.0.0.0:0")
        assert code == 2
        assert "can be reached from other machines" in said
        code, said = await outcome(config, "--listen", "somewhere")
        assert code == 2
        assert "write HOST:PORT, [IPv6]:PORT, https://HOST:PORT or unix:PATH" in said

    run(scene())


def told_of_logs(config: Path) -> str:
    """The line in which a daemon says at its start where its logs are."""
    return f"its logs are in {load(config, {}).config.logging.log_dir}: daemon.log and calls.log\n"


async def outcome(config: Path, *arguments: str) -> tuple[int, str]:
    """How a daemon ends that cannot begin."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", str(config), *arguments), stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


def test_a_reload_cannot_open_a_daemon_to_the_network(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        apps = {"app web": {"token_sha256": hashlib.sha256(b"token").hexdigest()}}
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url, apps)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                daemon._addresses = [parse_address("0.0.0.0:80")]  # as if: no test listens beyond loopback
                write_config(tmp_path, simulator.url)
                await daemon.reload()
                assert (await client.post(CHAT, json=ASK)).status_code == 401
                ready = (await client.get("/health/ready")).json()
                assert "can be reached from other machines" in ready["reload_failed"]

    run(scene())


def test_tokens_name_the_app_and_bound_it(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        apps: Sections = {
            "app web": {"token_sha256": hashlib.sha256(b"for-web").hexdigest(), "models": "gpt-4.1, deepseek-v3.2"},
            "app slow": {"token_sha256": hashlib.sha256(b"for-slow").hexdigest(), "requests_per_minute": 1},
            "limits": {"max_wait": 0},
        }
        async with gateway(tmp_path, sections=apps) as (_, client):

            async def ask(token: str, model: str = "gpt-4.1") -> httpx.Response:
                headers = {"authorization": f"Bearer {token}"}
                return await client.post(CHAT, json={**ASK, "model": model}, headers=headers)

            for nobody in (await client.post(CHAT, json=ASK), await ask("for-we"), await client.get("/v1/models")):
                assert nobody.status_code == 401
                assert "Authorization: Bearer TOKEN" in error_of(nobody)["message"]
                assert "for-we" not in nobody.text
            assert (await ask("for-web")).status_code == 200
            forbidden = await ask("for-web", "claude-sonnet-4.5")
            assert forbidden.status_code == 403
            assert "gpt-4.1, deepseek-v3.2" in error_of(forbidden)["message"]
            listed = await client.get("/v1/models", headers={"authorization": "bearer for-web"})
            assert {model["id"] for model in listed.json()["data"]} == {"gpt-4.1", "deepseek-v3.2"}
            assert (await ask("for-slow")).status_code == 200
            over = await ask("for-slow")
            assert over.status_code == 429
            assert int(over.headers["retry-after"]) >= 1
            assert "slow" in error_of(over)["message"]
            assert (await client.get("/health/live")).status_code == 200  # health asks nobody who they are
            text = (await client.get("/metrics")).text
            assert 'app="web"' in text

    run(scene())


def test_on_the_unix_socket_the_user_is_the_app(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        apps = {"app me": {"uid": os.getuid(), "models": "gpt-4.1"}}
        async with simulated() as simulator:
            path = tmp_path / "s"
            config = write_config(tmp_path, simulator.url, apps)
            async with serving(config, f"unix:{path}", "127.0.0.1:0") as (_, url):
                async with dial(path) as raw:
                    raw.send(post(CHAT, json.dumps(ASK).encode()))
                    assert (await raw.answer()).status == 200
                    raw.send(post(CHAT, json.dumps({**ASK, "model": "deepseek-v3.2"}).encode()))
                    answer = await raw.answer()
                    assert answer.status == 403
                    assert b"'me'" in answer.body
                async with httpx.AsyncClient(base_url=url) as client:
                    assert (await client.post(CHAT, json=ASK)).status_code == 401

    run(scene())


def test_the_port_for_prometheus(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
            config = write_config(tmp_path, "http://127.0.0.1:1/v1", {"monitoring": {"metrics_port": port}})
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as client:
                assert (await client.get("/metrics")).status_code == 200  # the port is taken: that stops nobody
            log = (tmp_path / "logs" / "daemon.log").read_text()
            assert f'"message":"cannot listen on 127.0.0.1:{port}: Address already in use; ' in log
        async with serving(config), httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.get("/metrics")
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/plain")
            assert (await client.get("/health/live")).status_code == 404

    run(scene())


def test_logs_are_json_without_keys_or_prompts(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        canary = "the-canary-sings"
        body: Any = {**ASK, "messages": [{"role": "user", "content": canary}]}
        async with gateway(tmp_path, "status:500@every=2", sections={"logging": {"level": "DEBUG"}}) as (_, client):
            await client.post(CHAT, json=body, headers={"authorization": f"Bearer {canary}", "cookie": canary})
            await client.post(CHAT, json={**body, "stream": True})
            await client.post(CHAT, content=canary)
            await client.post(f"/v1/files?{canary}", content=canary)
        lines = [json.loads(line) for path in (tmp_path / "logs").iterdir() for line in path.read_text().splitlines()]
        assert {line["event"] for line in lines if "event" in line} >= {"ready", "stopped"}
        calls = [json.loads(line) for line in (tmp_path / "logs" / "calls.log").read_text().splitlines()]
        assert [call["status"] for call in calls if call["event"] == "call"][:1] == [200]
        text = json.dumps(lines)
        assert KEY not in text
        assert canary not in text

    run(scene())
    assert {path.name.partition("-")[0] for path in (tmp_path / "logs").iterdir()} >= {"daemon", "calls"}


def test_log_directories_that_cannot_be_had(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        (tmp_path / "file").write_text("")
        config = write_config(tmp_path, "http://127.0.0.1:1/v1", {"logging": {"log_dir": tmp_path / "file" / "logs"}})
        with pytest.raises(ConfigurationError, match="log_dir"):
            async with serving(config):
                pass

    run(scene())
