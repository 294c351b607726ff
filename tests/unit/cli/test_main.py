"""The program's front: its table, its entry point, and how little `--version` needs."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys

import pytest

from ai_client._version import __version__
from ai_client.cli.main import COMMANDS, main


def test_version_imports_next_to_nothing() -> None:
    program = (
        "import sys; sys.argv = ['ai-client', '--version']\n"
        "from ai_client.cli.main import main\n"
        "main()\n"
        "print(*(name for name in sys.modules if name.partition('.')[0] in ('ai_client', 'click', 'rich')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    said, imported = done.stdout.splitlines()
    assert said == f"ai-client {__version__}"
    assert set(imported.split()) == {"ai_client", "ai_client._version", "ai_client.cli", "ai_client.cli.main"}


def test_the_version_is_said_and_that_is_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ai-client", "--version"])
    main()
    assert capsys.readouterr().out == f"ai-client {__version__}\n"


def outcome(words: str, stdout: int = subprocess.PIPE) -> tuple[int, str]:
    """The exit code and standard error of `ai-client WORDS` in a shell, whose redirections `words` may hold."""
    command = f"{shlex.join([sys.executable, '-m', 'ai_client'])} {words}"
    shell = ["/bin/sh", "-c", command]
    done = subprocess.run(shell, check=False, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_what_cannot_be_written_ends_in_a_line(option: str) -> None:
    told = "ai-client: what was to be said cannot be written: No space left on device\n"
    assert outcome(f"{option} >/dev/full") == (1, told)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        assert outcome(option, gone.fileno()) == (1, "")


def test_standard_streams_that_are_closed_lead_nowhere() -> None:
    assert outcome("--version >&-") == (0, "")
    asks = "limits --local 127.0.0.1:1"  # has an event loop, which takes the free number for its own
    code, told = outcome(f"{asks} <&- >&-")
    assert (code, told.startswith("ai-client: ")) == (1, True)
    assert outcome(f"{asks} 2>&-") == (1, "")


def test_the_package_is_the_program_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["ai_client", "--version"])
    runpy.run_module("ai_client", run_name="__main__")
    assert capsys.readouterr().out == f"ai-client {__version__}\n"


def test_the_process_ends_with_the_commands_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["ai-client", "nonsense"])
    monkeypatch.setattr("ai_client.daemon.secrecy.keep_memory_private", lambda: True)  # of this process it is for good
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "No such command 'nonsense'" in capsys.readouterr().err


def test_ctrl_c_right_after_the_start_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["ai-client", "health"])
    monkeypatch.setattr("ai_client.daemon.secrecy.keep_memory_private", interrupted)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130


def test_the_table_names_what_the_program_can_do() -> None:
    promised = {"serve", "simulate", "chat", "batch", "bench", "costs", "health", "config"}
    assert promised <= set(COMMANDS)
    for name, entry in COMMANDS.items():
        assert entry.target == f"ai_client.cli.{name}:{name}"
        assert entry.summary.endswith(".")
