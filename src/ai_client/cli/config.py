"""`ai-client config`: check a configuration, show what is in force, list what may be set."""

from __future__ import annotations

import json
import os
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from ai_client.cli.options import Options, config_option, json_option, load_config, warn
from ai_client.config.load import Loaded, load
from ai_client.config.reference import effective, markdown, rows
from ai_client.errors import ConfigurationError


@click.group()
def config() -> None:
    """Check, show and explain the configuration."""


@config.command(short_help="Look for mistakes.")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@config_option
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path | None, options: Options, *, as_json: bool) -> None:
    """Look for mistakes in FILE, its drop-ins and the environment; exit code 2 if there are any.

    Without FILE, the configuration that the program would use is checked.
    """
    loaded: Loaded | None = None
    problems: tuple[str, ...] = ()
    try:
        loaded = load(file or options.config_path, os.environ)
    except ConfigurationError as error:
        problems = error.problems
    warnings = loaded.warnings if loaded else ()
    if as_json:
        _print_json({"ok": loaded is not None, "problems": problems, "warnings": warnings})
    else:
        for problem in problems:
            click.echo(problem)
        for warning in warnings:
            click.echo(f"warning: {warning}")
        click.echo(_summary(loaded) if loaded else f"{_count(len(problems), 'mistake')}: not usable")
    ctx.exit(0 if loaded else 2)


@config.command(short_help="Print every value in force and where it came from.")
@config_option
@json_option
def show(options: Options, *, as_json: bool) -> None:
    """Print every value in force and where it came from. Secrets are masked."""
    loaded = load_config(options)
    warn(loaded)
    values = list(effective(loaded))
    if as_json:
        sections: dict[str, dict[str, Any]] = {}
        for each in values:
            sections.setdefault(each.section, {})[each.key] = {"value": each.value, "origin": each.origin}
        _print_json(sections)
        return
    for section, members in groupby(values, key=lambda each: each.section):
        click.echo(f"[{section}]")
        lines = [(f"{each.key} = {each.text}", each.origin) for each in members]
        width = min(max(len(line) for line, _ in lines), 60)
        for line, origin in lines:
            click.echo(f"{line:<{width}}  # {origin}")
        click.echo()


@config.command(short_help="List every key and what it means.")
@click.option(
    "--markdown", "as_markdown", is_flag=True, help="Print the reference page, docs/reference/configuration.md."
)
@json_option
def keys(*, as_json: bool, as_markdown: bool) -> None:
    """List every key: type, unit, default, what is allowed, and what it means."""
    if as_markdown:
        click.echo(markdown(), nl=False)
        return
    if as_json:
        _print_json(list(rows()))
        return
    for section, members in groupby(rows(), key=lambda row: str(row["section"])):
        click.echo(f"[{section}]")
        for row in members:
            unit = f" ({row['unit']})" if row["unit"] else ""
            click.echo(f"  {row['key']} = {row['default']}".rstrip())
            click.echo(f"      {row['meaning']}")
            click.echo(f"      {row['type']}{unit}: {row['allowed']}")
        click.echo()


def _summary(loaded: Loaded) -> str:
    """One line: where values come from, and how much there is."""
    sources = Counter(_source(origin) for origin in loaded.origins.values() if not _is_implied(origin))
    parts = [f"{_count(number, 'key')} from {source}" for source, number in sources.items()] or ["defaults only"]
    parts.append(_count(len(loaded.config.providers), "provider"))
    parts.append(_count(len(loaded.config.apps), "app"))
    parts.append(_count(len(loaded.warnings), "warning"))
    return f"ok: {', '.join(parts)}"


def _source(origin: str) -> str:
    """The file of `FILE:LINE`, without where it was named: `file PATH (FILE:LINE)`; else what it says."""
    path, _, line = origin.rpartition(":")
    return path if line.isdecimal() else origin.partition(" (")[0]


def _is_implied(origin: str) -> bool:
    return origin in ("default", "the host's name") or origin.startswith("[")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))
