"""The command that shows limits, on a real daemon."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ai_client.cli import limits
from ai_client.cli.group import cli
from ai_client.model.call import Target
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from tests.unit.cli.stage import Stage
from tests.unit.cli.test_health import dead_port

EXTRA = """
[limit money]
scope = model
values = gpt-4.1, gpt-4.1-mini
dollars = 5/day
requests = 10/second
max_concurrent = 3
[limit places]
scope = provider
values = sim
max_concurrent = 7
max_concurrent_fleet = 5
"""


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ["limits", *words])


def test_every_limit_is_shown(tmp_path: Path) -> None:
    with Stage(tmp_path, EXTRA) as stage:
        stage.call(lambda: stage.shared.quota.pauses.hear("sim/m", 60_000_000_000))
        said = [(b"x-ratelimit-limit-requests", b"60"), (b"x-ratelimit-remaining-requests", b"59")]
        said.append((b"x-ratelimit-limit-tokens", b"10000000000"))
        stage.call(lambda: stage.shared.quota.heed.hear(Target("sim", "m", "m"), said, 0))
        shown = call("--config", str(stage.conf)).stdout
        told = json.loads(call("--local", stage.address, "--json").stdout)
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "mode local, members 1, this node's share when alone 100.00%"
    assert "limit:money:gpt-4.1 requests_second 10/second 10 10 0 of 3 0" in lines
    assert "nano_dollars_day $5.0000/day $0.5000 $0.5000" in lines
    assert "limit:places:sim 0 of 5, 5 in all 0" in lines
    assert lines[-1].startswith("left alone: sim/m, ")
    assert "sim/m says: 60 requests a minute, 59 left 0 s ago" in lines
    assert "sim/m says: 10,000,000,000 tokens a minute" in lines
    assert told["mode"] == "local"
    assert set(told["limits"]) == {
        "provider:sim",
        "limit:money:gpt-4.1",
        "limit:money:gpt-4.1-mini",
        "limit:places:sim",
        "told:sim",
    }


def test_a_usual_terminal_cuts_nothing_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    with Stage(
        tmp_path, "[limit each-user-of-the-house]\nscope = provider\nvalues = sim\ntokens = 1000000/minute\n"
    ) as stage:
        shown = call("--local", stage.address).stdout
    assert "1,000,000/minute" in shown
    assert "…" not in shown


def test_one_that_is_configured_too_high_is_named() -> None:
    told = {"limits": {"input_tokens": 1000}, "remaining": {}, "clamped": ["input_tokens"], "seconds_ago": 3.0}
    assert limits._word("p/m", told) == ["p/m says: 1,000 input tokens a minute; more is configured: this counts"]


def test_without_a_daemon_it_says_so(tmp_path: Path) -> None:
    conf = tmp_path / "f.conf"
    conf.write_text(f"[daemon]\nlisten = 127.0.0.1:{dead_port()}\n")
    result = call("--config", str(conf))
    assert result.exit_code == 1
    assert "no daemon answers at 127.0.0.1:" in result.stderr


def test_what_is_no_daemon_of_ours_is_told_apart(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        result = call("--local", stage.url.removeprefix("http://").removesuffix("/v1"))
    assert result.exit_code == 1
    assert "answered 404: is it of this version?" in result.stderr
    assert "'nonsense' is no address" in call("--local", "nonsense").stderr


def test_who_asks_from_elsewhere_is_told_where_to_ask(tmp_path: Path) -> None:
    def refuse(request: Request, exchange: Exchange) -> None:
        exchange.send(401, (), b"")

    async def listen() -> tuple[Server, int]:
        server = Server(refuse)
        return server, (await server.listen_tcp("127.0.0.1", 0))[1]

    with Stage(tmp_path) as stage:
        server, port = stage.run(listen())
        said = call("--local", f"127.0.0.1:{port}").stderr
        stage.call(server.close)
    assert "answered 401: who asks from elsewhere needs a token" in said


@pytest.mark.parametrize(("words", "terminal"), [((), False), (("--json",), False), (("--json",), True), ((), True)])
def test_it_can_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], *, terminal: bool
) -> None:
    looks = []
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")

    async def soon(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with Stage(tmp_path) as stage:
        monkeypatch.setattr(limits, "asyncio", _Patched(soon))
        result = call("--local", stage.address, "--watch", *words)
    assert result.exit_code == 130
    assert len(looks) == 3
    if words:
        assert [json.loads(line)["mode"] for line in result.stdout.splitlines()] == ["local"] * 3
    else:
        assert result.stdout.count("mode local") >= 3
        assert ("\x1b[1A" in result.stdout) is terminal  # one line up: drawn in the same place


class _Patched:
    """asyncio, but for its sleep."""

    Runner = asyncio.Runner

    def __init__(self, sleep: object) -> None:
        self.sleep = sleep


def test_a_plan(tmp_path: Path) -> None:
    said = call(
        "plan", "--rpm", "500", "--tpm", "100000", "--nodes", "50", "--demand", "1500", "--tokens", "200"
    ).stdout
    assert "500 calls a minute of 200 tokens; requests run out first" in said
    assert "1,000 calls a minute are too many" in said
    assert "500 a minute, 100.0% of the limit; " in said
    assert "525 in any minute: the limit and 5.0% more, for a burst and a lease\n" in said
    told = json.loads(call("plan", "--tpm", "1000000", "--nodes", "2", "--demand", "10", "--json").stdout)
    assert told["scarce"] == ""
    easy = call("plan", "--tpm", "1000000", "--nodes", "2", "--demand", "10").stdout
    assert "enough for all" in easy
    assert "nothing waits for long" in easy
    assert "give --rpm or --tpm" in call("plan", "--nodes", "2", "--demand", "10").stderr


def test_a_small_plan_is_told_as_exactly() -> None:
    said = call("plan", "--rpm", "5", "--nodes", "1", "--demand", "0.03").stdout
    assert "0.03 a minute, 0.6% of the limit" in said
    assert "0.03 calls a minute, one in 2,000 s" in said
    assert "5.25 in any minute: the limit and 5.0% more" in said
    assert said.endswith("about 1 question a second\n")


def test_a_plan_of_what_cannot_be_is_refused() -> None:
    plan = ("plan", "--nodes", "2", "--demand", "10")
    assert call(*plan, "--rpm", "-5").exit_code == 2
    assert call(*plan, "--tpm", "-5").exit_code == 2
    assert call("plan", "--nodes", "2", "--demand", "nan", "--rpm", "5").exit_code == 2
