"""`ai-client costs`: what was spent, on what, and by whom."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from ai_client.answers import usd
from ai_client.build import prices
from ai_client.cli.options import Options, config_option, json_option, load_config
from ai_client.clock import SystemClock, local_day
from ai_client.cost.base import Entry
from ai_client.lasting import open_library

_FIRST: Final = "0001-01-01"
_LAST: Final = "9999-12-31"
_DAY_NS: Final = 86_400_000_000_000
_WIDE: Final = 200  # columns where there is no terminal: nothing is cut off in a file
_CENTS: Final = 2
UNKNOWN: Final = "unknown"

_KEYS: Final[Mapping[str, Callable[[Entry], str]]] = MappingProxyType(
    {
        "model": lambda entry: entry.model,
        "app": lambda entry: entry.app,
        "tag": lambda entry: entry.tag,
        "target": lambda entry: entry.target,
        "day": lambda entry: entry.day,
    }
)


class Sum(msgspec.Struct):
    """What was spent under one name; `cost_nano` is in nano-dollars, `cached_input_tokens` part of `input_tokens`.

    `unpriced` counts calls of models without a price: what they cost is not known, and not in `cost_nano`.
    """

    name: str
    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    unpriced: int = 0

    def add(self, entry: Entry, *, priced: bool) -> None:
        """Count a row of the ledger; `priced` says whether its model has a price."""
        self.calls += entry.calls
        self.errors += entry.errors
        self.input_tokens += entry.input_tokens
        self.cached_input_tokens += entry.cached_input_tokens
        self.output_tokens += entry.output_tokens
        self.cost_nano += entry.cost_nano
        if not (priced or entry.cost_nano) and entry.input_tokens + entry.output_tokens:
            self.unpriced += max(entry.calls - entry.errors, 1)  # lost attempts are no calls, but spent all the same


class _Day(click.ParamType[str]):
    """A calendar day: `2026-01-31`, `today` or `yesterday`."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The day as the ledger writes it."""
        now = SystemClock().unix_ns()
        if value == "today":
            return local_day(now)
        if value == "yesterday":
            return local_day(now - _DAY_NS)
        try:
            return dt.date.fromisoformat(value).isoformat()
        except ValueError:
            self.fail(f"{value!r}: expected a day such as 2026-01-31, today or yesterday", param, ctx)


@click.command(short_help="Show what was spent, on what, and by whom.")
@click.option("--since", type=_Day(), default=_FIRST, metavar="DAY", help="The first day.  [default: all there are]")
@click.option("--until", type=_Day(), default=_LAST, metavar="DAY", help="The last day, included.")
@click.option("--by", type=click.Choice(list(_KEYS)), default="model", show_default=True, help="What to sum up by.")
@config_option
@json_option
def costs(options: Options, since: str, until: str, by: str, *, as_json: bool) -> None:
    """Show calls, errors, tokens and dollars from this node's ledger, summed up by model, app, tag, target or day.

    DAY is a local calendar day: 2026-01-31, today or yesterday. Dollars are exact, to the nano-dollar.
    """
    if since > until:
        raise click.UsageError(f"--since {since} is later than --until {until}")
    config = load_config(options).config
    path = config.costs.ledger
    if path is None:
        raise click.ClickException(
            "no ledger is kept: set `ledger = /var/lib/ai-client/ledger.db` in [costs] and restart the daemon"
        )
    entries: list[Entry] = []
    if _there(path):
        shared = open_library(config)
        try:
            entries = shared.ledger.read(since, until)
        except OSError as error:
            raise click.ClickException(str(error)) from None
        finally:
            asyncio.run(shared.close())
    table = prices(config)
    priced = {entry.model for entry in entries if table.lookup(entry.model) is not None}
    rows = _summed(entries, _KEYS[by], priced)
    (total,) = _summed(entries, lambda _: "total", priced) or [Sum("total")]
    if as_json:
        bounds = {"since": since if since != _FIRST else None, "until": until if until != _LAST else None}
        span = {"ledger": str(path), **bounds, "by": by}
        told = span | {"rows": [_plain(row, by) for row in rows], "total": _plain(total, "")}
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
    elif rows:
        console = Console()
        if not console.is_terminal:
            console = Console(width=_WIDE)
        console.print(_table(rows, total, by))
        if total.unpriced:
            click.echo(f"{UNKNOWN}, +: there are calls of models without a price; give it in [model_costs]", err=True)
    else:
        click.echo(f"Nothing is booked{_span(since, until)} in {path}.")


def _there(path: Path) -> bool:
    """Is the ledger there? To ask what was spent must not make one."""
    try:
        return path.exists()
    except OSError as error:
        raise click.ClickException(f"the cost ledger {path} cannot be read: {error.strerror}") from None


def _summed(entries: Iterable[Entry], key: Callable[[Entry], str], priced: Container[str]) -> list[Sum]:
    """A sum for each name; days in their order, others by what they cost. `priced` holds the models with a price."""
    sums: dict[str, Sum] = {}
    for entry in entries:
        name = key(entry)
        sums.setdefault(name, Sum(name)).add(entry, priced=entry.model in priced)
    if key is _KEYS["day"]:
        return sorted(sums.values(), key=lambda one: one.name)
    return sorted(sums.values(), key=lambda one: (-one.cost_nano, one.name))


def _table(rows: Sequence[Sum], total: Sum, by: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    table.add_column(by, footer="total", overflow="fold")
    decimals = max(_CENTS, *(len(_dollars(row.cost_nano).partition(".")[2]) for row in rows))
    for head, text in _cells(total, decimals).items():
        table.add_column(head, footer=text, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name or "-", *_cells(row, decimals).values())
    return table


def _cells(row: Sum, decimals: int) -> dict[str, str]:
    return {
        "calls": f"{row.calls:,}",
        "errors": f"{row.errors:,}",
        "tokens in": f"{row.input_tokens:,}",
        "cached": f"{row.cached_input_tokens:,}",
        "tokens out": f"{row.output_tokens:,}",
        "USD": _known(row, decimals),
    }


def _known(row: Sum, decimals: int) -> str:
    """The dollars, and whether there are more that nobody knows of."""
    if row.unpriced and not row.cost_nano:
        return UNKNOWN
    return _dollars(row.cost_nano, decimals) + ("+" if row.unpriced else "")


def _dollars(nano: int, decimals: int = 0) -> str:
    """Exact dollars, without zeros at the end beyond `decimals` places."""
    whole, _, fraction = usd(nano).decode().partition(".")
    return f"{int(whole):,}.{fraction.rstrip('0').ljust(decimals, '0')}"


def _plain(row: Sum, by: str) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(row)
    name = told.pop("name")
    # the digits themselves: no binary fraction comes between the ledger and whoever reads this
    told["cost_usd"] = msgspec.Raw(usd(row.cost_nano))
    return ({by: name} if by else {}) | told


def _span(since: str, until: str) -> str:
    begin = f" since {since}" if since != _FIRST else ""
    return begin + (f" until {until}" if until != _LAST else "")
