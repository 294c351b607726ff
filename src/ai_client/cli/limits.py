"""`ai-client limits`: how every limit stands at this node's daemon; `ai-client limits plan`: what a fleet will see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import click
import msgspec
import uvloop
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ai_client.cli.options import Number, Options, config_option, json_option, load_config
from ai_client.cli.probe import get_local
from ai_client.cli.reach import find_daemon, nobody_at
from ai_client.clock import Clock, SystemClock
from ai_client.errors import UpstreamError
from ai_client.limits.plan import Plan, Question
from ai_client.limits.plan import plan as reckon

_WIDE: Final = 200  # columns where there is no terminal: nothing is cut off in a file
_MANY: Final = 100  # from here on a figure's fractions do not matter
_NANO: Final = 1_000_000_000
_HINTS: Final[Mapping[int, str]] = {
    401: ": who asks from elsewhere needs a token; ask on its own node, by loopback or its Unix socket",
    404: ": is it of this version?",
}
_WINDOWS: Final[Mapping[float, str]] = {1.0: "second", 60.0: "minute", 3600.0: "hour", 86_400.0: "day"}


@click.group(invoke_without_command=True, short_help="Show how every limit stands, or plan one for a fleet.")
@click.option("--local", "address", metavar="ADDRESS", help="The daemon at this address.  [default: the node's]")
@click.option("--watch", is_flag=True, help="Look again each second, until ^C.")
@config_option
@json_option
@click.pass_context
def limits(ctx: click.Context, options: Options, address: str | None, *, watch: bool, as_json: bool) -> None:
    """Show each limit of this node's daemon: what it grants, what is at hand, who runs and waits.

    In a fleet, `available` is what is lent to this node. The mode is `local`, or in a fleet `joining`, `shared`,
    `alone` (the store is away: each node has its share) or `closed`.
    """
    if ctx.invoked_subcommand is not None:
        return
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_show(address, options, watch=watch, as_json=as_json))


@limits.command(short_help="Tell what a fleet will see of a limit.")
@click.option(
    "--rpm",
    default=0,
    type=click.IntRange(0),
    metavar="N",
    help="Requests a minute that the provider grants; 0 for no limit.",
)
@click.option("--tpm", default=0, type=click.IntRange(0), metavar="N", help="Tokens a minute; 0 for no limit.")
@click.option("--nodes", required=True, type=click.IntRange(1, 1_000_000), metavar="N", help="Nodes that share it.")
@click.option(
    "--demand",
    required=True,
    type=Number(0, min_open=True),
    metavar="N",
    help="Calls a minute of all nodes together.",
)
@click.option(
    "--tokens", default=1000, show_default=True, type=click.IntRange(1), metavar="N", help="Tokens of a usual call."
)
@click.option("--burst-seconds", default=1.0, show_default=True, type=Number(0), metavar="X", help="As [limits].")
@click.option("--lease-seconds", default=2.0, show_default=True, type=Number(0), metavar="X", help="As [fleet].")
@json_option
def plan(*, as_json: bool, **asked: Any) -> None:
    """Reckon what comes of a limit, a number of nodes and their demand."""
    question = Question(**asked)
    if not question.rpm and not question.tpm:
        raise click.UsageError("give --rpm or --tpm, or both: without a limit there is nothing to plan")
    found = reckon(question)
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for name, said in _told(question, found):
        click.echo(f"{name:<12}{said}")


def _told(asked: Question, found: Plan) -> list[tuple[str, str]]:
    scarce = f"{found.scarce} run out first" if found.scarce else "enough for all"
    waits = "nothing waits for long"
    if found.backlog:
        waits = f"{_figure(found.backlog)} calls a minute are too many: they wait as long as they may, then get 429"
    more = f"{found.most_over:.1%} more, for a burst and a lease"
    questions = round(found.store_questions)
    return [
        ("limit", f"{_figure(found.limit)} calls a minute of {asked.tokens:,} tokens; {scarce}"),
        ("answered", f"{_figure(found.answered)} a minute, {found.used:.1%} of the limit; {waits}"),
        ("a node", f"{_figure(found.per_node)} calls a minute, one in {_figure(found.seconds_between)} s"),
        ("alone", f"{_figure(found.alone_per_node)} calls a minute for each node while the store is away"),
        ("at most", f"{_figure(found.most_in_a_minute)} in any minute: the limit and {more}"),
        ("the store", f"about {questions:,} question{'' if questions == 1 else 's'} a second"),
    ]


def _figure(value: float) -> str:
    """A whole number, or three digits of a small one: what is rounded to nothing tells nothing."""
    return f"{value:,.0f}" if value >= _MANY else f"{value:.3g}"


async def _show(address: str | None, options: Options, *, watch: bool, as_json: bool) -> None:
    clock = SystemClock()
    if address is None:
        listen = load_config(options).config.daemon.listen
        address = await find_daemon(listen, clock)
        if address is None:
            raise UpstreamError(f"{nobody_at(listen)}: start it, or name one with --local")
    with _sheet(watch=watch, as_json=as_json) as show:
        show(await _state(address, clock))
        while watch:
            await asyncio.sleep(1)
            show(await _state(address, clock))


@contextmanager
def _sheet(*, watch: bool, as_json: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """How a look is shown: as JSON; on a terminal that is watched always in the same place; else below the last one."""
    console = Console()
    if as_json:
        yield lambda state: click.echo(msgspec.json.encode(state))
    elif watch and console.is_terminal:
        with Live(auto_refresh=False) as live:
            yield lambda state: live.update(_drawn(state), refresh=True)
    else:
        page = Console(width=None if console.is_terminal else _WIDE)
        yield lambda state: page.print(_drawn(state))


async def _state(address: str, clock: Clock) -> dict[str, Any]:
    answer = await get_local(address, "/health/limits", clock)
    if answer.status != 200:
        raise UpstreamError(f"the daemon at {address} answered {answer.status}{_HINTS.get(answer.status, '')}")
    state: dict[str, Any] = msgspec.json.decode(answer.body)
    return state


def _drawn(state: Mapping[str, Any]) -> RenderableType:
    head = f"mode {state['mode']}, members {state['members']}, this node's share when alone {state['share']:.2%}"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))  # fits into 80 columns
    table.add_column("limit", overflow="fold")
    table.add_column("of")
    for name in ("grants", "burst", "available", "running", "waiting"):
        table.add_column(name, justify="right")
    for name, limit in state["limits"].items():
        running = str(limit["running"]) + (f" of {limit['max_concurrent']}" if limit["max_concurrent"] else "")
        if "fleet_concurrent" in limit:
            running += f", {limit['fleet_concurrent']} in all"
        shown = name
        for kind, rate in limit["rates"].items() or [("", None)]:
            cells = ["", "", ""] if rate is None else _cells(kind, rate)
            table.add_row(Text(shown), kind, *cells, running, str(limit["waiting"]))
            shown = running = ""
            limit = {**limit, "waiting": ""}  # noqa: PLW2901  said once for each limit
    paused = [Text(f"left alone: {target}, {left:.1f} s more") for target, left in state["paused"].items()]
    told = [Text(line) for name, each in state["told"].items() for line in _word(name, each)]
    return Group(Text(head), table, *told, *paused)


def _word(name: str, told: Mapping[str, Any]) -> list[str]:
    """What a provider said of its limits."""
    lines = []
    for kind, limit in told["limits"].items():
        left = told["remaining"].get(kind)
        then = "" if left is None else f", {left:,} left {told['seconds_ago']:.0f} s ago"
        clamped = "; more is configured: this counts" if kind in told["clamped"] else ""
        lines.append(f"{name} says: {limit:,} {kind.replace('_', ' ')} a minute{then}{clamped}")
    return lines


def _cells(kind: str, rate: Mapping[str, Any]) -> list[str]:
    window = _WINDOWS.get(rate["window_seconds"], f"{rate['window_seconds']:g} s")
    money = kind.startswith("nano_dollars")

    def units(value: int) -> str:
        return f"${value / _NANO:,.4f}" if money else f"{value:,}"

    return [f"{units(rate['amount'])}/{window}", units(rate["burst"]), units(rate["available"])]
