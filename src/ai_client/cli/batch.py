"""`ai-client batch`: answers every line of a file, and goes on where it stopped."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import random
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop

from ai_client.batch.job import Defaults, Ending, survey
from ai_client.batch.reader import read
from ai_client.batch.report import NO_PLOTS, Draw, write_report
from ai_client.batch.runner import Runner, Settings, Surroundings
from ai_client.batch.store import Store
from ai_client.batch.tally import Summary, Tally, Whereabouts, summarise
from ai_client.build import prices
from ai_client.cli.batch_view import View, advice, summary_text, view
from ai_client.cli.group import complain, one_line
from ai_client.cli.options import Number, Options, Text, config_option, json_option, load_config
from ai_client.cli.reach import Route, reach, route_options
from ai_client.clock import Clock, SystemClock
from ai_client.config.load import Loaded
from ai_client.config.snapshot import Config
from ai_client.cost.prices import PriceTable
from ai_client.errors import AIClientError, InvalidRequestError
from ai_client.model.request import Endpoint

_ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "chat": Endpoint.CHAT,
    "completions": Endpoint.COMPLETIONS,
    "embeddings": Endpoint.EMBEDDINGS,
    "responses": Endpoint.RESPONSES,
}
_STDOUT: Final = 1
_UNUSABLE: Final = 2
_NO_ROOM: Final = 3
_SIGNALLED: Final = 128
_PATH: Final = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for."""

    input: Path
    output: Path
    errors: Path | None
    model: str
    endpoint: str
    max_tokens: int | None
    temperature: float | None
    concurrency: int | None
    priority: int | None
    timeout: float | None
    route: Route
    fresh: bool
    yes: bool
    retry_errors: bool
    report: Path | None
    limit_bytes: int | None

    @property
    def errors_path(self) -> Path:
        """Where errors go: by default `answers.errors.jsonl` beside `answers.jsonl`."""
        return self.errors or self.output.with_name(f"{self.output.stem}.errors{self.output.suffix}")

    @property
    def defaults(self) -> Defaults:
        """What lines leave open."""
        return Defaults(_ENDPOINTS[self.endpoint], self.model, self.max_tokens, self.temperature)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a run works with."""

    order: Order
    config: Config
    clock: Clock
    view: View
    store: Store
    tally: Tally
    prices: PriceTable


@click.command(short_help="Answer every line of a file; resume where it stopped.")
@click.argument("input", metavar="IN.jsonl", type=_PATH)
@click.option("-o", "--output", required=True, type=_PATH, metavar="OUT.jsonl", help="Where answers go, as they come.")
@click.option("--errors", type=_PATH, metavar="FILE", help="Where errors go.  [default: OUT.errors.jsonl]")
@click.option(
    "--model", type=Text(), default="", metavar="M", help="For lines that name none: a model, an alias or `auto`."
)
@click.option(
    "--endpoint", type=click.Choice(list(_ENDPOINTS)), default="chat", show_default=True, help="Of plain lines."
)
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Bounds answers whose lines do not.")
@click.option("--temperature", type=Number(0), metavar="T", help="For lines that name none.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), metavar="N", help="Calls at once.  [default: [batch]]")
@click.option("--priority", type=click.IntRange(1, 10), metavar="P", help="1 (last) to 10 (first).  [default: [batch]]")
@click.option("--timeout", type=Number(0, min_open=True), metavar="SECONDS", help="Of one call, in all.")
@route_options
@click.option("--fresh", is_flag=True, help="Begin anew, and throw away what OUT holds.")
@click.option("--yes", is_flag=True, help="Do not ask whether to throw it away.")
@click.option("--retry-errors", is_flag=True, help="Ask again also what was refused before.")
@click.option("--report", type=_PATH, metavar="DIR", help="Write a report with plots, and summary.json.")
@click.option(
    "--limit-bytes", type=click.IntRange(1), metavar="N", help="A line's length.  [default: [daemon] max_body_mb]"
)
@config_option
@json_option
def batch(
    options: Options, *, as_json: bool, local: str | None, direct: bool, token_file: Path | None, **chosen: Any
) -> None:
    """Answer every line of IN.jsonl, and go on where it stopped when run again.

    A line is one of OpenAI's batch lines, or {"messages": [...]} or {"prompt": "..."}, with a custom_id if you like.
    Answers come in OpenAI's batch output shape, in the order in which they are ready. Lines that are broken, too long
    or named twice, and calls that failed, go to the errors file; the others go on.

    Exit codes: 0 all answered; 1 some lines have no answer; 2 input or arguments cannot be used; 3 the answers could
    not be written; 130 stopped by ^C. Whatever happened, the same command goes on where it stopped.
    """
    order = Order(route=Route(local, direct, token_file), **chosen)
    order.route.check()
    loaded = load_config(options)
    try:
        code = _carry_out(order, loaded, options, as_json=as_json)
    except InvalidRequestError as error:
        complain(error.message)
        code = _UNUSABLE
    except BrokenPipeError:  # nobody reads the summary: click knows what to do
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        complain(f"{where}{error.strerror}; nothing that was written before is lost")
        code = _NO_ROOM
    sys.exit(code)


def _carry_out(order: Order, loaded: Loaded, options: Options, *, as_json: bool) -> int:
    """The whole command; returns its exit code. Raises `InvalidRequestError` and OSError."""
    if not order.output.name:
        raise InvalidRequestError(f"{order.output} is a folder: name a file in it")
    _check_paths(order.input, order.output, order.errors_path)
    _check_results(order)
    found = survey(order.input)
    if not found.lines:
        raise InvalidRequestError(f"{order.input} holds no lines")
    clock = SystemClock()
    store = Store(order.output, order.errors_path, found.fingerprint(order.defaults), found.lines)
    try:
        if order.fresh:
            _begin_anew(order, store)
        tally = Tally(found.lines)
        tally.earlier_refused(store.resume(tally.earlier, retry_errors=order.retry_errors))
        config = loaded.config
        desk = Desk(order, config, clock, view(sys.stderr, clock), store, tally, prices(config))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                summary, code = runner.run(_run(desk, loaded, options))
            finally:
                desk.view.close()
    finally:
        store.close()
    _tell(desk, summary, as_json=as_json)
    return code


async def _run(desk: Desk, loaded: Loaded, options: Options) -> tuple[Summary, int]:
    order, tally, clock = desk.order, desk.tally, desk.clock
    reached = await reach(order.route, loaded, options)
    client, through = reached.client, reached.through
    counted = f"{tally.lines:,} line{'' if tally.lines == 1 else 's'}"
    desk.view.say(f"{counted} from {order.input}, answered into {order.output}, through {through}")
    if tally.resumed or tally.refused:
        desk.view.say(f"going on: {tally.resumed:,} lines were answered and {tally.refused:,} refused before")
    settings = Settings(
        order.concurrency or desk.config.batch.concurrency, order.priority or desk.config.batch.priority, order.timeout
    )

    def waits(seconds: float, error: AIClientError) -> None:
        desk.view.say(f"waiting {seconds:.1f} s: {one_line(error.message)}")

    limit = order.limit_bytes or desk.config.daemon.max_body_mb << 20
    signals: list[int] = []
    try:
        with order.input.open("rb") as file:
            around = Surroundings(clock, random.Random(), desk.view.watch, waits)
            lines = islice(read(file, order.defaults, limit), tally.lines)  # it may be growing
            runner = Runner(client, lines, desk.store, tally, settings, around)

            def stop(number: int) -> None:
                signals.append(number)
                if runner.under_way and len(signals) == 1:
                    desk.view.say(f"stopping; {settings.grace:g} s for calls under way (once more: at once)")
                runner.stop()

            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop, number)
            ending = await runner.run()
    finally:
        await client.aclose()
    where = Whereabouts(str(order.output), str(order.errors_path), through)
    summary = summarise(tally, where, ending, runner.reason, runner.elapsed_ns, desk.prices.lookup)
    return summary, _exit_code(summary, signals)


def _exit_code(summary: Summary, signals: list[int]) -> int:
    match Ending(summary.ending):
        case Ending.INTERRUPTED:
            return _SIGNALLED + signals[0]
        case Ending.WRITE_FAILED:
            return _NO_ROOM
        case Ending.REFUSED | Ending.UNREADABLE:
            return _UNUSABLE
        case _:
            return 1 if summary.failed or summary.remaining else 0


def _check_paths(*paths: Path) -> None:
    """Input, output and errors are three files."""
    seen: set[Path] = set()
    for path in paths:
        resolved = path.resolve()
        if resolved in seen:
            raise InvalidRequestError(f"{path} is given twice: input, output and errors are three files")
        seen.add(resolved)


def _check_results(order: Order) -> None:
    """What the end needs is there before anything is spent: room for the report, and an output of the summary's own."""
    if order.report is not None:
        try:
            order.report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InvalidRequestError(f"--report {order.report} cannot be made: {error.strerror}") from None
    for path in (order.output, order.errors_path):
        with contextlib.suppress(OSError):  # what is not there yet
            if os.path.samestat(path.stat(), os.fstat(_STDOUT)):
                raise InvalidRequestError(f"{path} is standard output, where the summary goes: name another file")


def _begin_anew(order: Order, store: Store) -> None:
    if not store.is_empty() and not order.yes:
        if not sys.stdin.isatty():
            raise InvalidRequestError(f"{order.output} holds answers, which --fresh throws away: say --yes as well")
        click.confirm(f"{order.output} holds answers. Throw them away?", abort=True, err=True)
    store.clear()


def _tell(desk: Desk, summary: Summary, *, as_json: bool) -> None:
    """Report and summary. Raises OSError when the report cannot be written."""
    for line in () if as_json else summary_text(summary):
        click.echo(line)
    if hint := advice(summary):
        click.echo(hint, err=True)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(summary), indent=2))
    folder = desk.order.report
    if folder is not None:
        offered = (model for provider in desk.config.providers.values() for model in provider.models)
        models = {*offered, *desk.config.model_costs}
        priced = {model: price for model in sorted(models) if (price := desk.prices.lookup(model)) is not None}
        draw = _drawer()
        write_report(folder, summary, desk.tally, priced, draw)
        click.echo(f"report    {folder / 'report.html'}", err=True)
        if draw is None:
            click.echo(NO_PLOTS, err=True)


def _drawer() -> Draw | None:
    """How to draw; None without matplotlib. It takes half a second to import, so only who asks for a report pays."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    plots: Any = importlib.import_module("ai_client.cli.batch_plots")
    draw: Draw = plots.draw
    return draw
