"""`ai-client bench`: where its load goes, what it sends, what it tells, and how ^C ends it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ai_client.cli.group import cli
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from tests.unit.cli.stage import Stage


async def listen(handle: Callable[[Request, Exchange], None]) -> tuple[Server, int]:
    server = Server(handle)
    return server, (await server.listen_tcp("127.0.0.1", 0))[1]


def load(stage: Stage, *arguments: str, rate: str = "200", duration: str = "0.05") -> Result:
    options = ["--rate", rate, "--duration", duration]
    return CliRunner().invoke(cli, ["bench", "--config", str(stage.conf), *options, *arguments])


def test_the_daemon_is_loaded_and_everything_told(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        result = load(stage, "--model", "gpt-4.1", "--max-tokens", "3")
        again = json.loads(load(stage, "--model", "gpt-4.1", "--json").stdout)
    assert result.exit_code == 0
    assert result.stderr == f"10 requests, 200 a second, to the daemon at {stage.address}\n"
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["requests"] == "10 sent, 10 answered, 0 failed"
    assert lines["cache"] == "10 miss"
    assert lines["tokens"].endswith(" in, 30 out")
    assert lines["cost"].startswith("$0.0")
    assert (again["answered"], again["failed"], again["given_up"], again["first_byte_ms"]) == (10, 0, 0, None)
    assert again["latency_ms"]["p50"] <= again["latency_ms"]["p99"] <= again["latency_ms"]["max"]


def test_any_url_with_the_key_that_is_configured_for_it_and_streams(tmp_path: Path) -> None:
    with Stage(tmp_path, keys=("k",)) as stage:
        known = load(stage, "--url", stage.url, "--model", "gpt-4.1", "--stream")
        stage.conf.write_text(stage.conf.read_text().replace("api_key = k", "api_key = other"))
        refused = json.loads(load(stage, "--url", stage.url, "--json").stdout)
        (tmp_path / "key").write_text("k\n")
        told = load(stage, "--url", stage.url, "--token-file", str(tmp_path / "key"))
    assert (known.exit_code, "1st byte  p50" in known.stdout, "cache" in known.stdout) == (0, True, False)
    assert refused["errors"] == {"401 invalid_api_key": 10}
    assert "k" in refused["first_errors"]["401 invalid_api_key"]
    assert refused["sent_per_second"] <= 200
    assert told.exit_code == 0


def test_requests_from_a_file_in_turn(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"prompt": "One"}\n\n{"messages": [{"role": "user", "content": "Two"}], "model": "gpt-4.1"}\n')
    with Stage(tmp_path) as stage:
        hits = json.loads(load(stage, "--prompt-file", str(file), "--json", rate="50", duration="0.2").stdout)
        fresh = json.loads(load(stage, "--prompt-file", str(file), "--no-cache", "--json").stdout)
    assert sum(hits["cache"].values()) == 10
    assert hits["cache"]["miss"] == 2
    assert "hit" not in fresh["cache"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read"),
        ("", "holds no requests"),
        ("{", "line 1: "),
        ('{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"input": "a"}}', "only chat"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "in.jsonl"
    if text is not None:
        file.write_text(text)
    with Stage(tmp_path) as stage:
        result = load(stage, "--prompt-file", str(file))
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_nobody_to_send_to(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        pass
    nobody = load(stage)
    assert (nobody.exit_code, "no daemon answers at" in nobody.stderr) == (2, True)
    wrong = load(stage, "--url", "ftp://x")
    assert (wrong.exit_code, "--url: " in wrong.stderr) == (2, True)
    dead = load(stage, "--url", stage.url)
    assert dead.exit_code == 1
    assert "10  connect_error, the first: no connection to http://127.0.0.1:" in dead.stdout


@pytest.mark.parametrize("option", [("--rate", "20001"), ("--duration", "3601"), ("--rate", "0")])
def test_rate_and_duration_are_bounded(option: tuple[str, str]) -> None:
    assert CliRunner().invoke(cli, ["bench", "--rate", "1", "--duration", "1", *option]).exit_code == 2


def test_on_a_terminal_it_shows_how_it_is_coming_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Stage(tmp_path) as stage:
        shown = load(stage, "--model", "gpt-4.1").stderr
        stage.simulator.simulator.set_faults(["status:400"])
        failed = load(stage, "--model", "gpt-4.1", "--no-cache").stderr
    assert " of 10 sent, 0 answered" in shown
    assert " sent, 0 answered" in failed


def test_an_answer_without_price_is_mentioned(tmp_path: Path) -> None:
    def answer(request: Request, exchange: Exchange) -> None:
        exchange.send(200, ((b"content-type", b"application/json"),), b'{"model": "x"}')

    with Stage(tmp_path) as stage:
        server, port = stage.run(listen(answer))
        text = load(stage, "--url", f"http://127.0.0.1:{port}/v1").stdout
        stage.call(server.close)
    assert "cost      $0.0000, and 10 answers of models without a price\n" in text


def test_interrupted_it_tells_what_it_has(tmp_path: Path) -> None:
    def hold(request: Request, exchange: Exchange) -> None:
        if request.path == "/v1/chat/completions":
            if len(held) == 1:
                os.kill(os.getpid(), signal.SIGINT)
            held.append(exchange)

    held: list[Any] = []
    with Stage(tmp_path) as stage:
        server, port = stage.run(listen(hold))
        result = load(stage, "--url", f"http://127.0.0.1:{port}/v1", duration="3600")
        stage.call(server.close)
    assert result.exit_code == 130
    assert "latency" not in result.stdout  # nothing was answered
    assert "0 answered, 0 failed, " in result.stdout
    assert " given up" in result.stdout
