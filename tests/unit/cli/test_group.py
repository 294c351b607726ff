"""The group of commands: where it finds them, its options, and what errors become."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ai_client._version import __version__
from ai_client.cli import main as front
from ai_client.cli.group import Options, cli, report
from ai_client.cli.main import Entry
from ai_client.cli.options import Number, Text, config_option, json_option, load_config, warn
from ai_client.errors import AIClientError, ConfigurationError, ConnectError


@click.command()
@click.argument("kind")
def failing(kind: str) -> None:
    """Fail in the way that is asked for."""
    failures: Mapping[str, BaseException] = {
        "error": ConnectError("no connection:\n  refused"),
        "configuration": ConfigurationError(["a: b", "c: d"]),
        "refusal": click.ClickException("no\n  such"),
        "misuse": click.UsageError("not so"),
        "interrupt": KeyboardInterrupt(),
        "abort": click.Abort(),
        "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        "system": FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)),
    }
    raise failures[kind]


@click.command()
@config_option
@json_option
def saying(options: Options, *, as_json: bool) -> None:
    """Say what was understood."""
    click.echo(f"{options.config_path} {as_json}")


@click.command()
@config_option
def loading(options: Options) -> None:
    """Load the configuration, and tell its doubts."""
    loaded = load_config(options)
    warn(loaded)
    click.echo(loaded.config.api.timeout)


@click.group()
def several() -> None:
    """Have commands of its own."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A runner; the table holds the commands of this file."""
    table = {name: Entry(f"{__name__}:{name}", "Summary.") for name in ("failing", "saying", "loading")}
    monkeypatch.setattr(front, "COMMANDS", {**table, "health": Entry(f"{__name__}:saying", "Summary.")})
    for name in ("AI_CLIENT_CONFIG", "HOLYSHEEP_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return CliRunner()


def invoke(run: CliRunner, *args: str) -> Result:
    return run.invoke(cli, args)


def test_help_lists_the_table_and_imports_no_command(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "COMMANDS", {"one": Entry("there.is.no:such", "Does one thing.")})
    result = invoke(run, "--help")
    assert result.exit_code == 0
    assert "one  Does one thing." in result.stdout
    assert cli.list_commands(click.Context(cli)) == ["one"]


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("error", 1, "ai-client: no connection: refused\n"),
        ("configuration", 2, "ai-client: a: b\nai-client: c: d\n"),
        ("refusal", 1, "ai-client: no such\n"),
        ("misuse", 2, "ai-client: not so\nTry 'cli failing --help' for help.\n"),
        ("interrupt", 130, ""),
        ("abort", 130, ""),
    ],
)
def test_errors_become_a_line_and_an_exit_code(run: CliRunner, kind: str, code: int, said: str) -> None:
    result = invoke(run, "failing", kind)
    assert (result.exit_code, result.stderr, result.stdout) == (code, said, "")


def test_a_full_disk_is_said_in_a_line_and_met_once(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    result = invoke(run, "failing", "full")
    assert result.exit_code == 1
    assert result.stderr == "ai-client: what was to be said cannot be written: No space left on device\n"


def test_what_is_wrong_before_the_command_is_told_in_the_same_form(run: CliRunner) -> None:
    result = invoke(run, "--nonsense")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "ai-client: No such option '--nonsense'.\nTry 'cli --help' for help.\n"


def test_a_group_that_is_told_nothing_shows_its_help(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "COMMANDS", {"several": Entry(f"{__name__}:several", "Summary.")})
    result = invoke(run, "several")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: cli several ")


@click.command()
@click.option("--number", type=Number(0), default=1.0)
@click.option("--text", type=Text(), default="")
def taking(number: float, text: str) -> None:
    """Say what came."""
    click.echo(f"{number:g} {text}")


@pytest.mark.parametrize("given", ["nan", "inf", "-inf", "x", "-1"])
def test_a_number_that_nothing_can_be_done_with_is_refused(run: CliRunner, given: str) -> None:
    result = run.invoke(taking, ["--number", given])
    assert result.exit_code == 2
    assert "Invalid value for '--number'" in result.stderr


def test_text_that_no_model_can_be_sent_is_refused(run: CliRunner) -> None:
    assert run.invoke(taking, ["--number", "2", "--text", "café"]).stdout == "2 café\n"
    other = "café".encode().decode("ascii", "surrogateescape")  # as it comes where the locale knows ASCII alone
    assert run.invoke(taking, ["--text", other]).stdout == "1 café\n"
    result = run.invoke(taking, ["--text", os.fsdecode(b"caf\xe9")])
    assert result.exit_code == 2
    assert "is not UTF-8" in result.stderr


def test_an_error_that_is_not_ours_is_not_hidden(run: CliRunner) -> None:
    assert isinstance(invoke(run, "failing", "other").exception, KeyError)
    assert isinstance(invoke(run, "failing", "system").exception, FileNotFoundError)


def test_an_unknown_command_and_none_at_all_are_mistakes(run: CliRunner) -> None:
    result = invoke(run, "nonsense")
    assert result.exit_code == 2
    assert "No such command 'nonsense'." in result.stderr
    result = invoke(run, "fail")
    assert result.exit_code == 2
    assert "No such command 'fail'. Did you mean 'failing'?" in result.stderr
    assert "No such command 'help'. Did you mean '--help'?" in invoke(run, "help").stderr
    result = invoke(run)
    assert result.exit_code == 2
    assert "Commands:" in result.stdout


def test_config_may_stand_before_or_after_the_command(run: CliRunner) -> None:
    assert invoke(run, "saying").stdout == "None False\n"
    assert invoke(run, "--config", "a", "saying").stdout == "a False\n"
    assert invoke(run, "saying", "--config", "b", "--json").stdout == "b True\n"
    assert invoke(run, "--config", "a", "saying", "--config", "b").stdout == "b False\n"
    assert run.invoke(saying, ["--config", "c"]).stdout == "c False\n"
    assert run.invoke(saying).stdout == "None False\n"


def test_health_check_is_the_command_health(run: CliRunner) -> None:
    assert invoke(run, "--config", "a", "--health-check").stdout == "a False\n"
    assert invoke(run, "--config", "a", "--health-check", "--json").stdout == "a True\n"


@pytest.mark.parametrize("words", [("--json",), ("--json", "saying"), ("--json", "--health-check", "saying")])
def test_json_before_a_command_is_of_the_health_check_alone(run: CliRunner, words: tuple[str, ...]) -> None:
    result = invoke(run, *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--json stands after the command's name, or beside --health-check" in result.stderr


def test_loading_says_doubts_and_mistakes_on_stderr(run: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("[api]\ntimeout = 3\n")
    result = invoke(run, "--config", str(path), "loading")
    assert (result.exit_code, result.stdout) == (0, "3.0\n")
    assert result.stderr.startswith("warning: provider holysheep: no API key: set the variable HOLYSHEEP_API_KEY, ")
    path.write_text("[api]\ntimeout = soon\n")
    for result in (invoke(run, "--config", str(path), "loading"), run.invoke(loading, ["--config", str(path)])):
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"ai-client: {path}:2: [api] timeout = soon: expected a number")


def test_a_key_that_the_daemon_has_need_not_be_read(plain_user: None, run: CliRunner) -> None:
    with tempfile.TemporaryDirectory() as folder:
        key, path = Path(folder, "key"), Path(folder, "a.conf")
        key.touch(0o000)
        path.write_text(f"[api]\napi_key_file = {key}\n")
        assert invoke(run, "--config", str(path), "loading").exit_code == 0


def test_errors_of_the_package_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report(AIClientError("one\n  two"))
    assert capsys.readouterr().err == "ai-client: one two\n"


def test_what_a_terminal_would_obey_is_not_said(capsys: pytest.CaptureFixture[str]) -> None:
    report(AIClientError("it answered \x1b[2J \x07no\x9b5n"))
    assert capsys.readouterr().err == "ai-client: it answered [2J no5n\n"


def test_version_may_stand_among_other_options(run: CliRunner) -> None:
    assert invoke(run, "--config", "a", "--version").stdout == f"ai-client {__version__}\n"
