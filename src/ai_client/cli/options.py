"""What commands have in common: their options, and loading the configuration that they name."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ai_client.cli.group import CONFIG_HELP, Options, report
from ai_client.config.load import Loaded, load
from ai_client.errors import ConfigurationError

__all__ = ["Number", "Options", "Text", "config_option", "json_option", "load_config", "warn"]

Command = TypeVar("Command", bound=Callable[..., Any])


class Number(click.FloatRange):
    """A number within bounds. `nan` and `inf` are none: they pass every comparison that is to keep them out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a number to reckon with.", param, ctx)
        return number


class Text(click.ParamType[str]):
    """Text that goes to a model: UTF-8, as JSON has to be."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text."""
        try:
            # bytes that the locale cannot read come as halves of pairs: they are taken for what they were
            return str(value).encode("utf-8", "surrogateescape").decode()
        except UnicodeError:
            self.fail(f"{value!r} is not UTF-8.", param, ctx)


def config_option(command: Command) -> Command:
    """Give a command its own `--config FILE`, which wins over the one before the command's name.

    The command gets an argument `options`: the `Options` in force.
    """
    return click.option(
        "--config",
        "options",
        metavar="FILE",
        type=click.Path(path_type=Path),
        callback=_options,
        help=CONFIG_HELP,
    )(command)


def json_option(command: Command) -> Command:
    """Give a command `--json`; it arrives as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(command)


def load_config(options: Options, *, keys: bool = False) -> Loaded:
    """Load the configuration that the command line names, with the process's environment over it.

    Without `keys`, those that only others may read are passed over: the daemon has them. A configuration with mistakes
    ends the program: each is printed to stderr, exit code 2. Its warnings are for whoever asks the providers itself:
    see `warn`.
    """
    try:
        return load(options.config_path, os.environ, keys=keys)
    except ConfigurationError as error:
        report(error)
        raise SystemExit(2) from None


def warn(loaded: Loaded) -> None:
    """Tell on stderr what is doubtful in a configuration."""
    for warning in loaded.warnings:
        click.echo(f"warning: {warning}", err=True)


def _options(ctx: click.Context, _param: click.Parameter, value: Path | None) -> Options:
    if value is not None:
        ctx.obj = Options(value)
    return ctx.find_object(Options) or Options()
