"""The group of all commands: finds them in the table of `main.py`, and turns errors into a line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from ai_client._version import __version__
from ai_client.cli import main as front
from ai_client.cli.main import INTERRUPTED
from ai_client.errors import AIClientError, ConfigurationError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OBEYED: Final[Mapping[int, None]] = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)])
"""For `str.translate`: what a terminal obeys rather than shows: all of C0 but tab and line feed, DEL, and C1."""
CONFIG_HELP: Final = "The configuration; by default $AI_CLIENT_CONFIG or /etc/ai-client/ai-client.conf."


@dataclass(frozen=True, slots=True)
class Options:
    """What was said before the command: it applies to whatever command follows. Kept in the click context's `obj`."""

    config_path: Path | None = None


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and turns this package's errors into a line and an exit code.

    Exit codes: 1 for an error, 2 for a configuration or a command line that is wrong, 130 for ^C.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names, in the table's order."""
        return list(front.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of this name; None when there is none."""
        entry = front.COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names. Raises `click.UsageError` that tells the nearest name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            meant = {name: name for name in front.COMMANDS} | {"help": "--help", "version": "--version"}
            near = importlib.import_module("ai_client.config.sections").nearest(args[0], meant)
            if near is None:
                raise
            raise click.UsageError(f"{error.message} Did you mean {meant[near]!r}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in front.COMMANDS.items()])

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options before the command's name; `--help` and `--version` are answered here."""
        with _told():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        with _told():
            return super().invoke(ctx)


@contextmanager
def _told() -> Iterator[None]:
    """Have what goes wrong end in a line on stderr and an exit code."""
    try:
        yield
    except AIClientError as error:
        report(error)
        raise click.exceptions.Exit(2 if isinstance(error, ConfigurationError) else 1) from None
    except click.exceptions.NoArgsIsHelpError:  # its text is a page of help
        raise
    except click.ClickException as error:
        complain(error.format_message())
        if isinstance(error, click.UsageError) and error.ctx is not None:
            click.echo(f"Try '{error.ctx.command_path} --help' for help.", err=True)
        raise click.exceptions.Exit(error.exit_code) from None
    except (KeyboardInterrupt, click.Abort):
        raise click.exceptions.Exit(INTERRUPTED) from None
    except OSError as error:
        if error.errno not in _FULL:
            raise
        complain(f"what was to be said cannot be written: {error.strerror}")
        os._exit(1)  # a usual end would try to write it once more


def report(error: AIClientError) -> None:
    """Say on stderr what went wrong: a line for every problem of a configuration, one for anything else."""
    for text in error.problems if isinstance(error, ConfigurationError) else (error.message,):
        complain(text)


def complain(text: str) -> None:
    """Say in a line on stderr what went wrong, in the form that all commands share."""
    click.echo(f"ai-client: {one_line(text)}", err=True)


def one_line(text: str) -> str:
    """Somebody else's words in a line of ours, without what a terminal would obey."""
    return " ".join(text.split()).translate(OBEYED)


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
@click.option("--json", "as_json", is_flag=True, help="With --health-check: print JSON, for programs.")
@click.pass_context
def cli(ctx: click.Context, config_path: Path | None, *, health_check: bool, as_json: bool) -> None:
    """One rate-limited, cost-aware, cached path from every program to every AI model."""
    ctx.obj = Options(config_path)
    if as_json and (ctx.invoked_subcommand is not None or not health_check):
        raise click.UsageError("--json stands after the command's name, or beside --health-check", ctx)
    if ctx.invoked_subcommand is not None:
        return
    if not health_check:
        click.echo(ctx.get_help())
        ctx.exit(2)
    health = cli.get_command(ctx, "health")
    assert health is not None
    with health.make_context("health", ["--json"] if as_json else [], parent=ctx) as health_context:
        health.invoke(health_context)
