"""`ai-client health`: what it says of each thing, and its exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ai_client.cli.group import cli
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from tests.unit.cli.stage import Stage


def check(conf: Path, *more: str) -> Result:
    return CliRunner().invoke(cli, ["health", "--config", str(conf), *more])


def _squeezed(result: Result) -> list[str]:
    return ["  ".join(part.strip() for part in line.split("  ") if part.strip()) for line in result.stdout.splitlines()]


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_all_is_well(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        result = check(stage.conf)
        flag = CliRunner().invoke(cli, ["--config", str(stage.conf), "--health-check"])
        told = json.loads(check(stage.conf, "--json").stdout)
    lines = _squeezed(result)
    assert result.exit_code == flag.exit_code == 0
    assert lines[0] == f"configuration  ok  {stage.conf}"
    assert lines[1] == "key sim  ok  well-formed, accepted"
    assert lines[2].startswith(f"upstream sim  ok  {stage.url} answers in ")
    assert lines[3].startswith(f"daemon {stage.address}  ok  ready, version ")
    assert (told["status"], len(told["checks"])) == ("ok", 4)
    assert told["checks"][2]["latency_ms"] > 0
    assert "latency_ms" not in told["checks"][0]


def test_no_daemon_is_degraded_and_so_is_a_provider_that_cannot_be_reached(tmp_path: Path) -> None:
    conf = tmp_path / "a.conf"
    port = dead_port()
    listen = f"127.0.0.1:{port}, 127.0.0.1:0, unix:{tmp_path / 'none'}"
    conf.write_text(f"[api]\nprovider = p\nbase_url = http://127.0.0.1:{port}/v1\n[daemon]\nlisten = {listen}\n")
    result = check(conf)
    lines = _squeezed(result)
    assert result.exit_code == 1
    assert lines[1] == "key p  ok  none, and none is needed"
    assert lines[2].startswith(f"upstream p  degraded  no connection to http://127.0.0.1:{port}")
    assert lines[3].startswith(f"daemon 127.0.0.1:{port}  degraded  does not serve: no connection")
    assert lines[4].endswith("nobody can know which")
    assert "degraded" in lines[5]


@pytest.mark.parametrize(("key", "said"), [("api_key = k", "refused (401)"), ("", "asked for, and none is")])
def test_a_key_that_is_refused_is_wrong(tmp_path: Path, key: str, said: str) -> None:
    with Stage(tmp_path, keys=("good",)) as stage:
        stage.conf.write_text(stage.conf.read_text().replace("api_key = k", key))
        result = check(stage.conf)
    assert result.exit_code == 2
    assert said in _squeezed(result)[1]
    assert _squeezed(result)[2].startswith("upstream sim  ok  ")


def test_a_missing_and_a_malformed_key_are_wrong(tmp_path: Path) -> None:
    conf = tmp_path / "a.conf"
    proxy = f"[security]\nproxy_url = http://127.0.0.1:{dead_port()}\n"  # so that nothing leaves this machine
    conf.write_text(proxy)
    result = check(conf)
    assert result.exit_code == 2
    assert _squeezed(result)[0].startswith(f"configuration  ok  {conf}; warning: ")
    assert _squeezed(result)[1].startswith("key holysheep  wrong  missing: set the variable HOLYSHEEP_API_KEY, ")
    assert _squeezed(result)[2].startswith("upstream holysheep  degraded  ")
    conf.write_text(f"{proxy}[api]\napi_key = sk-abc\n[models]\ndefault = nothing\n")
    result = check(conf)
    assert result.exit_code == 2
    assert [line.split("  ")[1] for line in _squeezed(result)] == ["wrong", "wrong"]


def test_a_ca_bundle_that_cannot_be_used_is_said_so(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    conf = tmp_path / "a.conf"
    conf.write_text(
        f"[api]\nprovider = p\nbase_url = https://127.0.0.1:{dead_port()}/v1\n[security]\ncert_path = {bundle}\n"
    )
    result = check(conf)
    assert result.exit_code == 1
    assert f"cert_path {bundle}" in _squeezed(result)[2]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, b"{}", "answers GET /models with 404"),
        (200, b"<html>", "something that is no list of models"),
        (200, b'{"data": [{"id": "gpt-4.1"}]}', "does not list claude-sonnet-4.5, gemini-2.5-flash, deepseek-v3.2,"),
        (200, b'{"data": []}', "answers in"),
    ],
)
def test_what_a_provider_answers(tmp_path: Path, status: int, body: bytes, said: str) -> None:
    def answer(request: Request, exchange: Exchange) -> None:
        exchange.send(status, ((b"content-type", b"application/json"),), body)

    with Stage(tmp_path) as stage:

        async def listen() -> tuple[Server, int]:
            server = Server(answer)
            return server, (await server.listen_tcp("127.0.0.1", 0))[1]

        server, port = stage.run(listen())
        text = stage.conf.read_text().replace(stage.url, f"http://127.0.0.1:{port}/v1")
        stage.conf.write_text(text.replace(stage.address, f"127.0.0.1:{port}"))
        result = check(stage.conf)
        stage.call(server.close)
    lines = _squeezed(result)
    assert said in lines[2]
    assert lines[3].endswith("another program answers here")
    assert result.exit_code == 1


def test_a_daemon_that_drains_or_refused_a_reload(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        stage.handler.state.reload_failed = "1 mistake:\n  a"
        refused = check(stage.conf)
        stage.handler.state.draining = True
        draining = check(stage.conf)
    assert refused.exit_code == draining.exit_code == 1
    assert refused.stdout.rstrip().endswith("the last reload was refused: 1 mistake: a")
    assert "draining, version" in draining.stdout


def test_a_target_that_is_left_alone_is_named(tmp_path: Path) -> None:
    states = {"p/good": "closed", "p/ill": "open", "p/better": "half_open"}
    with Stage(tmp_path) as stage:
        stage.handler.service.circuits = lambda: states
        result = check(stage.conf)
    assert result.exit_code == 1
    assert result.stdout.rstrip().endswith("failed too often lately: p/better, p/ill")


def test_it_imports_little() -> None:
    program = "import sys; before = set(sys.modules)\nimport ai_client.cli.health\nprint(*(set(sys.modules) - before))"
    done: Any = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    imported = set(done.stdout.split())
    assert "ai_client.transport.pool" in imported
    assert not {"rich", "ai_client.build", "ai_client.client", "prometheus_client", "sqlite3"} & imported
