"""`ai-client simulate`: its options, its help, and a run from start to signal."""

from __future__ import annotations

import os
import signal
import socket
import threading
import urllib.request
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from ai_client.cli.group import cli
from ai_client.cli.simulate import simulate
from ai_client.simulator.faults import KINDS, OPTIONS
from ai_client.simulator.models import MODELS


def test_the_help_names_every_fault_and_option() -> None:
    text = CliRunner().invoke(cli, ["simulate", "--help"]).output
    assert all(kind.name in text for kind in KINDS)
    assert all(f"  {name}  " in text for name in OPTIONS)


def test_the_reference_names_everything() -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "simulator.md").read_text()
    names = [f"`{kind.name}" for kind in KINDS] + [f"`{name}`" for name in OPTIONS]
    names += [option for parameter in simulate.params for option in parameter.opts]
    assert [name for name in names if name not in reference] == []
    for model in MODELS:
        (row,) = (line for line in reference.splitlines() if line.startswith(f"| `{model.name}`"))
        prices = [f"{nano / 1_000:.3f}".removesuffix("0") for nano in (model.input_nano, model.cached_nano)]
        assert row.startswith(f"| `{model.name}` | {prices[0]}, {prices[1]}, ")
        assert f"{model.context:,} |" in row
        assert model.embeds or f"{model.output_nano / 1_000:.2f} | {model.accuracy * 100:g} % | " in row
        assert f"| {model.first_ms:g}, " in row


@pytest.mark.parametrize("listen", ["4010", "127.0.0.1", "127.0.0.1:", ":4010", "127.0.0.1:http", "127.0.0.1:70000"])
def test_an_address_that_is_none(listen: str) -> None:
    result = CliRunner().invoke(cli, ["simulate", "--listen", listen])
    assert result.exit_code == 2
    assert "expected HOST:PORT" in result.output


def test_a_host_that_is_none_is_told_as_it_was_given() -> None:
    result = CliRunner().invoke(cli, ["simulate", "--listen", "no-host.invalid:4010"])
    assert result.exit_code == 1
    assert result.output.startswith("ai-client: cannot listen on no-host.invalid:4010: ")


def test_settings_that_make_no_sense_are_all_named(tmp_path: Path) -> None:
    arguments = ["simulate", "--rpm", "-1", "--tpm", "-1", "--listen", "127.0.0.1:0"]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 2
    assert "rpm is -1" in result.output
    assert "tpm is -1" in result.output
    result = CliRunner().invoke(cli, ["simulate", "--fault", "rest", "--listen", "127.0.0.1:0"])
    assert (result.exit_code, "did you mean reset?" in result.output) == (2, True)


def test_an_address_in_use_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(cli, ["simulate", "--listen", listen])
    assert result.exit_code == 1
    assert (
        result.output == f"ai-client: cannot listen on {listen}: Address already in use; `ss -ltnp` tells who has it\n"
    )


class Visitor(threading.Thread):
    """Reads the announcement from a pipe, asks for the models, and ends the process's command with a signal."""

    def __init__(self, pipe: int, number: signal.Signals) -> None:
        super().__init__()
        self._pipe = pipe
        self._number = number
        self.announced = ""
        self.models: list[str] = []

    def run(self) -> None:
        with os.fdopen(self._pipe) as lines:
            self.announced = lines.readline().strip()
        if not self.announced:  # it never listened: nobody to end
            return
        try:
            url = self.announced.rpartition(" ")[2]
            if self.announced.startswith("{"):
                url = msgspec.json.decode(self.announced)["url"]
            request = urllib.request.Request(f"{url}/models", headers={"authorization": "Bearer hs_x"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                self.models = [model["id"] for model in msgspec.json.decode(answer.read())["data"]]
        finally:
            os.kill(os.getpid(), self._number)


@pytest.mark.parametrize(
    ("extra", "number", "begins"),
    [((), signal.SIGINT, "listening on http://127.0.0.1:"), (("--json",), signal.SIGTERM, '{"url":"http://127.0.0.1:')],
)
def test_it_listens_until_a_signal(
    monkeypatch: pytest.MonkeyPatch, extra: tuple[str, ...], number: signal.Signals, begins: str
) -> None:
    reading, writing = os.pipe()
    visitor = Visitor(reading, number)
    visitor.start()
    with os.fdopen(writing, "w") as output:
        monkeypatch.setattr("sys.stdout", output)
        arguments: Any = ["--listen", "127.0.0.1:0", "--profile", "zero", "--fault", "reset@p=0", *extra]
        try:
            simulate.main(arguments, standalone_mode=False)
        except click.ClickException as error:  # the visitor must not wait for ever
            pytest.fail(error.message)
        finally:
            output.close()
            visitor.join()
    assert visitor.announced.startswith(begins)
    assert "gpt-4.1" in visitor.models
