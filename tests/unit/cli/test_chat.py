"""`ai-client chat`: one question, a conversation, and what is told beside the answer."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from ai_client.cli.chat import chat
from ai_client.cli.group import cli
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from tests.unit.cli.stage import Stage


def ask(stage: Stage, *arguments: str, said: str = "") -> Result:
    return CliRunner().invoke(cli, ["chat", "--config", str(stage.conf), *arguments], input=said)


def test_an_answer_comes_on_stdout_and_its_figures_on_stderr(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        result = ask(stage, "What is a duck?", "--model", "gpt-4.1", "--max-tokens", "5")
        piped = ask(stage, "--model", "gpt-4.1", "--max-tokens", "5", said="What is a duck?")
        direct = ask(stage, "What is a duck?", "--direct", "--model", "gpt-4.1", "--max-tokens", "5")
        answered = stage.simulator.stats()
    assert result.exit_code == 0
    assert result.stdout.endswith("\n")
    assert len(result.stdout.split()) >= 3
    assert piped.stdout == result.stdout
    assert result.stderr.startswith("sim/gpt-4.1, ")
    assert " tokens in, 5 out, $0.0000" in result.stderr
    assert result.stderr.endswith(" s, cut off where its tokens ended\n")
    assert "from the cache" in piped.stderr
    assert direct.exit_code == 0
    assert answered


def test_json_tells_it_all(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        result = ask(stage, "Hello", "--system", "Be brief.", "--model", "auto", "--max-tokens", "4", "--json")
    told = json.loads(result.stdout)
    assert (told["target"], told["finish_reason"], told["output_tokens"]) == ("sim/deepseek-v3.2", "length", 4)
    assert told["content"]
    assert told["cost_usd"] > 0
    assert result.stderr == ""


def test_errors_and_misuse(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        unknown = ask(stage, "Hello", "--model", "gpt-9")
        empty = ask(stage, " ")
        both = ask(stage, "Hello", "--direct", "--local", stage.address)
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "did you mean 'gpt-4.1'" in unknown.stderr
    assert (empty.exit_code, "the prompt is empty" in empty.stderr) == (2, True)
    assert (both.exit_code, "exclude one another" in both.stderr) == (2, True)


def test_a_dash_and_a_prompt_that_is_no_text(tmp_path: Path) -> None:
    with Stage(tmp_path) as stage:
        piped = ask(stage, "--json", "--max-tokens", "3", said="What is a duck?")
        dashed = ask(stage, "-", "--json", "--max-tokens", "3", said="What is a duck?")
        wrong = CliRunner().invoke(cli, ["chat", "--config", str(stage.conf)], input=b"caf\xe9")
    assert json.loads(dashed.stdout)["content"] == json.loads(piped.stdout)["content"]
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("ai-client: standard input is not UTF-8: byte 4 is wrong\n")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_is_told_that_no_daemon_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    with Stage(tmp_path) as stage:
        text = stage.conf.read_text()
        stage.conf.write_text(text.replace(f"listen = {stage.address}", f"listen = unix:{tmp_path}/none"))
        monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: terminal)
        alone = ask(stage, "Hello", "--max-tokens", "3").stderr
        asked = ask(stage, "Hello", "--max-tokens", "3", "--direct").stderr
    told = f"Through this process, to {stage.url}, since no daemon answers at unix:{tmp_path}/none.\n"
    assert (told in alone) is terminal
    assert "Through" not in asked


class Terminal:
    """Stands for a terminal on standard input: lines, or errors to raise in their place."""

    def __init__(self, *said: str | BaseException) -> None:
        self._said = list(said)

    def isatty(self) -> bool:
        return True

    def read_line(self, _prompt: str) -> str:
        line = self._said.pop(0)
        if isinstance(line, BaseException):
            raise line
        return line


def talk(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *said: Any
) -> tuple[str, str]:
    terminal = Terminal(*said)
    monkeypatch.setattr(sys, "stdin", terminal)
    monkeypatch.setattr("builtins.input", terminal.read_line)
    chat.main(["--config", str(stage.conf), "--max-tokens", "3"], standalone_mode=False)
    told = capsys.readouterr()
    return told.out, told.err


def test_a_conversation_keeps_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Stage(tmp_path) as stage:
        out, err = talk(stage, monkeypatch, capsys, "One?", "", "Two?", "/exit")
        assert len(out.splitlines()) == 2
        first, second = err.splitlines()[1:]
        assert err.startswith(f"Through the daemon at {stage.address}. ")
        assert int(second.split(", ")[1].split()[0]) > int(first.split(", ")[1].split()[0])
        out, err = talk(
            stage, monkeypatch, capsys, os.fsdecode(b"\xe9"), UnicodeDecodeError("utf-8", b"\xe9", 0, 1, ""), "/exit"
        )
        assert err.splitlines()[1:] == ["ai-client: that is not UTF-8, and was not sent"] * 2
        out, _ = talk(stage, monkeypatch, capsys, EOFError())
        assert out == "\n"
        with pytest.raises(click.Abort):
            talk(stage, monkeypatch, capsys, KeyboardInterrupt())
        assert capsys.readouterr().out == "\n"


def test_a_failed_or_stopped_answer_leaves_the_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Stage(tmp_path) as stage:
        stage.simulator.simulator.set_faults(["status:400"])
        _, err = talk(stage, monkeypatch, capsys, "One?", "/quit")
    assert "ai-client: " in err


def test_json_wants_a_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_client.cli.chat.sys.stdin", Terminal())
    with pytest.raises(Exception, match="--json wants a PROMPT"):
        chat.main(["--json"], standalone_mode=False)


def test_a_provider_that_does_not_stream_is_said_so(tmp_path: Path) -> None:
    def answer(request: Request, exchange: Exchange) -> None:
        exchange.send(200, ((b"content-type", b"application/json"),), b'{"choices": [], "model": "m"}')

    with Stage(tmp_path) as stage:

        async def listen() -> tuple[Server, int]:
            server = Server(answer)
            return server, (await server.listen_tcp("127.0.0.1", 0))[1]

        server, port = stage.run(listen())
        stage.conf.write_text(stage.conf.read_text().replace(stage.url, f"http://127.0.0.1:{port}/v1"))
        result = ask(stage, "Hello", "--direct")
        stage.call(server.close)
    assert result.exit_code == 1
    assert result.stderr.strip()


def test_a_count_of_ours_says_so(tmp_path: Path) -> None:
    arguments = ["Hello", "--direct", "--model", "gpt-4.1", "--max-tokens", "5"]
    with Stage(tmp_path) as stage:
        runner = CliRunner(env={"AI_CLIENT_API__STREAM_USAGE": "false"})
        result = runner.invoke(cli, ["chat", "--config", str(stage.conf), *arguments])
        told = runner.invoke(cli, ["chat", "--config", str(stage.conf), "--json", *arguments])
    assert ", about 2 tokens in, " in result.stderr
    assert json.loads(told.stdout)["usage_estimated"]
