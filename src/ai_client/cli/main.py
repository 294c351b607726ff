"""The command `ai-client`: one table of commands, each imported only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import click

from ai_client._version import __version__
from ai_client.errors import AIClientError, ConfigurationError

INTERRUPTED: Final = 130
"""128 + SIGINT: what a shell reports for a program that ^C ended."""


CONFIG_HELP: Final = "The configuration; by default $AI_CLIENT_CONFIG or /etc/ai-client/ai-client.conf."


class Entry(NamedTuple):
    """Where a command lives, as `module:attribute`, and what it does, for the list in `--help`."""

    target: str
    summary: str


COMMANDS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "serve": Entry("ai_client.cli.serve:serve", "Run the daemon: an OpenAI-compatible endpoint for this node."),
        "simulate": Entry("ai_client.cli.simulate:simulate", "Run a provider to develop and test against."),
        "chat": Entry("ai_client.cli.chat:chat", "Ask a model and watch it answer."),
        "batch": Entry("ai_client.cli.batch:batch", "Answer every line of a file; resume where it stopped."),
        "bench": Entry("ai_client.cli.bench:bench", "Send requests at a given rate and report latency and cost."),
        "costs": Entry("ai_client.cli.costs:costs", "Show what was spent, on what, and by whom."),
        "health": Entry("ai_client.cli.health:health", "Check configuration, key, provider and daemon."),
        "config": Entry("ai_client.cli.config:config", "Check, show and explain the configuration."),
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """What was said before the command: it applies to whatever command follows. Kept in the click context's `obj`."""

    config_path: Path | None = None


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and turns this package's errors into a line and an exit code.

    Exit codes: 1 for an error, 2 for a configuration or a command line that is wrong, 130 for ^C.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands' names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Import the command of this name; None when there is none."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except AIClientError as error:
            report(error)
            ctx.exit(2 if isinstance(error, ConfigurationError) else 1)
        except (KeyboardInterrupt, click.Abort):
            ctx.exit(INTERRUPTED)


def report(error: AIClientError) -> None:
    """Say on stderr what went wrong: every problem of a configuration, one line for anything else."""
    if isinstance(error, ConfigurationError):
        for problem in error.problems:
            click.echo(problem, err=True)
    else:
        click.echo(f"ai-client: {' '.join(error.message.split())}", err=True)


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ai-client", message="%(prog)s %(version)s")
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help=CONFIG_HELP,
)
@click.option("--health-check", is_flag=True, help="The same as the command `health`.")
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None, *, health_check: bool) -> None:
    """One rate-limited, cost-aware, cached path from every program to every AI model."""
    ctx.obj = Options(config_path)
    if ctx.invoked_subcommand is not None:
        return
    if not health_check:
        click.echo(ctx.get_help())
        ctx.exit(2)
    health = cli.get_command(ctx, "health")
    assert health is not None
    with health.make_context("health", [], parent=ctx) as health_context:
        health.invoke(health_context)


def main() -> None:
    """The entry point of the program `ai-client`."""
    sys.exit(cli.main(prog_name="ai-client"))
