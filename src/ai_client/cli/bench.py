"""`ai-client bench`: load at a given rate, and what came of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ai_client._version import __version__
from ai_client.batch.job import Defaults
from ai_client.batch.reader import Item, Rejected, read
from ai_client.cli.batch_view import usd
from ai_client.cli.group import one_line
from ai_client.cli.load import Figures, OpenLoop, Plan
from ai_client.cli.main import INTERRUPTED
from ai_client.cli.options import Number, Options, Text, config_option, json_option, load_config
from ai_client.cli.probe import daemon_at
from ai_client.cli.reach import find_daemon, nobody_at, read_token
from ai_client.clock import SystemClock
from ai_client.config.snapshot import Config
from ai_client.cost.prices import Price, PriceTable
from ai_client.errors import InvalidRequestError
from ai_client.model.request import Endpoint
from ai_client.telemetry.stats import Latencies
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.tls import client_context

_MOST_RATE: Final = 20_000
_MOST_SECONDS: Final = 3_600
_MOST_LINE: Final = 8 << 20
_PATH: Final = click.Path(path_type=Path)
_LOOK_S: Final = 0.5
_NANO: Final = 1_000_000_000
_PROMPT: Final = "Request {run}-{number}: say in one sentence what a benchmark is for."
"""Numbered by run and request, so that no cache knows the answer."""


class Goal(msgspec.Struct, frozen=True):
    """Where the load goes: an origin or a Unix socket, with a token or key; `through` says it in words."""

    origin: Origin
    unix_path: str | None
    token: str
    through: str


@click.command(short_help="Send requests at a given rate and report latency and cost.")
@click.option(
    "--rate", type=Number(0, _MOST_RATE, min_open=True), required=True, metavar="N", help="Requests a second."
)
@click.option(
    "--duration",
    type=Number(0, _MOST_SECONDS, min_open=True),
    required=True,
    metavar="SECONDS",
    help="How long they are sent.",
)
@click.option(
    "--connections", type=click.IntRange(1, 20_000), default=100, show_default=True, metavar="N", help="Open at most."
)
@click.option("--url", metavar="URL", help="A base URL such as http://127.0.0.1:4010/v1.  [default: the node's daemon]")
@click.option("--token-file", type=_PATH, metavar="FILE", help="Holds the token or key to send.")
@click.option(
    "--model", type=Text(), default="", metavar="M", help="A model, an alias or `auto`.  [default: [models] default]"
)
@click.option("--prompt-file", type=_PATH, metavar="FILE", help="Requests to send in turn, as lines for `batch`.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Bounds each answer.")
@click.option("--stream", is_flag=True, help="Ask for streams.")
@click.option("--no-cache", is_flag=True, help="Ask for answers that no cache gives.")
@click.option("--timeout", type=Number(0, min_open=True), default=60.0, show_default=True, metavar="SECONDS")
@config_option
@json_option
def bench(options: Options, rate: float, duration: float, timeout: float, *, as_json: bool, **chosen: Any) -> None:
    """Send chat requests at a steady rate to the node's daemon, or to any OpenAI-compatible URL, and report.

    The load is open: requests leave on time however slow the answers are, and each latency counts from when its
    request was due. Real models cost real money: RATE times DURATION requests are sent. ^C ends with the figures so
    far. Exit codes: 0; 1 when nothing was answered; 2 for arguments that cannot be used; 130 after ^C.
    """
    config = load_config(options, keys=chosen["url"] is not None).config
    plan = Plan(rate, duration, timeout)
    try:
        make = _bodies(chosen["prompt_file"], chosen["model"] or config.models.default, chosen["max_tokens"])
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            goal = runner.run(_goal(config, chosen["url"], chosen["token_file"]))
            click.echo(f"{plan.requests:,} requests, {rate:g} a second, to {goal.through}", err=True)
            wire = _writer(goal, make, stream=chosen["stream"], fresh=chosen["no_cache"])
            figures, stopped = runner.run(_run(plan, goal, wire, config, chosen["connections"]))
    except InvalidRequestError as error:
        raise click.UsageError(error.message) from None
    told = summary(plan, figures, goal.through)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
    else:
        for line in _text(told, figures):
            click.echo(line)
    sys.exit(INTERRUPTED if stopped else 0 if figures.answered else 1)


async def _goal(config: Config, url: str | None, token_file: Path | None) -> Goal:
    """Where to. Raises `InvalidRequestError` when there is nothing to send to."""
    token = read_token(token_file) or ""
    if url is not None:
        try:
            origin = Origin.parse(url)
        except ValueError as error:
            raise InvalidRequestError(f"--url: {error}") from None
        known = next((each for each in config.providers.values() if Origin.parse(each.base_url) == origin), None)
        if not token and known is not None and known.api_key is not None:
            token = known.api_key.reveal()
        return Goal(origin, None, token, url)
    address = await find_daemon(config.daemon.listen, SystemClock())
    if address is None:
        nobody = nobody_at(config.daemon.listen)
        raise InvalidRequestError(f"{nobody}: start one with `ai-client serve`, or name a --url")
    origin, unix_path = daemon_at(address)
    return Goal(msgspec.structs.replace(origin, path="/v1"), unix_path, token, f"the daemon at {address}")


def _bodies(path: Path | None, model: str, max_tokens: int | None) -> Callable[[int], bytes]:
    """The body of each request, by its number. Raises `InvalidRequestError` for a file that cannot be used."""
    bound = {} if max_tokens is None else {"max_tokens": max_tokens}
    if path is None:
        run = SystemClock().unix_ns() // _NANO

        def numbered(number: int) -> bytes:
            prompt = _PROMPT.format(run=run, number=number + 1)
            return msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": prompt}], **bound})

        return numbered
    bodies: list[bytes] = []
    try:
        with path.open("rb") as file:
            for line in read(file, Defaults(model=model, max_tokens=max_tokens), _MOST_LINE):
                if isinstance(line, Rejected):
                    raise InvalidRequestError(f"{path}, {line.message}")
                if isinstance(line, Item):
                    if line.endpoint is not Endpoint.CHAT:
                        raise InvalidRequestError(f"{path}, line {line.line}: only chat requests can be sent")
                    bodies.append(line.body)
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}") from None
    if not bodies:
        raise InvalidRequestError(f"{path} holds no requests")
    return lambda number: bodies[number % len(bodies)]


def _writer(goal: Goal, make: Callable[[int], bytes], *, stream: bool, fresh: bool) -> Callable[[int], bytes]:
    """Writes each request whole, head and body."""
    lines = [
        f"POST {goal.origin.path}{Endpoint.CHAT} HTTP/1.1",
        f"host: {goal.origin.authority}",
        f"user-agent: ai-client/{__version__}",
        "content-type: application/json",
        "accept-encoding: identity",
        *([f"authorization: Bearer {goal.token}"] if goal.token else []),
        *(["cache-control: no-cache"] if fresh else []),
    ]
    head = "\r\n".join(lines).encode("latin-1")

    def wire(number: int) -> bytes:
        body = make(number)
        if stream:
            members: dict[str, Any] = msgspec.json.decode(body)
            body = msgspec.json.encode({**members, "stream": True, "stream_options": {"include_usage": True}})
        return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)

    return wire


async def _run(
    plan: Plan, goal: Goal, wire: Callable[[int], bytes], config: Config, connections: int
) -> tuple[Figures, bool]:
    """The figures, and whether ^C ended it."""
    secure = goal.origin.secure
    tls = client_context(verify=config.security.verify_ssl, ca_bundle=config.security.cert_path) if secure else None
    pool = Pool(
        goal.origin,
        PoolSettings(connections, plan.patience, max(30.0, 2 / plan.rate), tls=tls, unix_path=goal.unix_path),
    )
    costs = config.model_costs
    prices = PriceTable({name: Price.usd(cost.input, cost.output, cost.cached_input) for name, cost in costs.items()})
    loop = OpenLoop(pool, plan, wire, prices.lookup, SystemClock())
    stopped: list[int] = []

    def stop() -> None:
        stopped.append(1)
        loop.stop()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
    try:
        async with _watched(loop.figures, plan.requests):
            return await loop.run(), bool(stopped)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        pool.close()


@asynccontextmanager
async def _watched(figures: Figures, total: int) -> AsyncIterator[None]:
    """Show on a terminal how it is coming on; nothing of it stays."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f} sent{task.fields[so_far]}"))
    with Progress(*columns, console=console, auto_refresh=False, transient=True) as bar:
        task = bar.add_task("", total=total, so_far="")

        async def look() -> None:
            while True:
                failed = figures.errors.total()
                so_far = f", {figures.answered:,} answered" + (f", {failed:,} failed" if failed else "")
                bar.update(task, completed=figures.due, so_far=so_far, refresh=True)
                await asyncio.sleep(_LOOK_S)

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()


def summary(plan: Plan, figures: Figures, through: str) -> dict[str, Any]:
    """What `--json` prints. Times in milliseconds from when a request was due, within 0.8 %; money in US dollars.

    `answers_per_second` is over the whole run, waiting for the last answers included. `late_p99_ms` is how late this
    program itself sent. `first_errors` has the words of the first of each kind of `errors`. `unpriced` answers are
    those whose model has no price: they are not in `cost_usd`.
    """
    seconds = figures.elapsed_ns / _NANO
    sending = figures.sending_ns / _NANO
    # the percentiles are those of a histogram, whose last one could pass the exact maximum
    percentiles, slowest = _percentiles(figures.latencies), round(figures.slowest_ns / 1e6, 3)
    return {
        "through": through,
        "rate": plan.rate,
        "sent_per_second": round(figures.due / sending, 3) if sending else 0.0,
        "answers_per_second": round(figures.answered / seconds, 3) if seconds else 0.0,
        "seconds": round(seconds, 3),
        "requests": figures.due,
        "answered": figures.answered,
        "failed": figures.errors.total(),
        "given_up": figures.due - figures.answered - figures.errors.total(),
        "errors": dict(figures.errors.most_common()),
        "first_errors": figures.first,
        "latency_ms": {name: min(ms, slowest) for name, ms in percentiles.items()} | {"max": slowest},
        "first_byte_ms": _percentiles(figures.first_bytes) if figures.first_bytes.total else None,
        "late_p99_ms": round(figures.lateness.percentile(99) / 1e6, 3),
        "cache": dict(figures.cache),
        "input_tokens": figures.input_tokens,
        "output_tokens": figures.output_tokens,
        "cost_usd": figures.cost_nano / _NANO,
        "unpriced": figures.unpriced,
    }


def _percentiles(latencies: Latencies) -> dict[str, float]:
    return {f"p{percent}": round(latencies.percentile(percent) / 1e6, 3) for percent in (50, 95, 99)}


def _text(told: dict[str, Any], figures: Figures) -> list[str]:
    given_up = f", {told['given_up']:,} given up" if told["given_up"] else ""
    rates = f"{told['sent_per_second']:g}/s sent, {told['answers_per_second']:g}/s answered"
    lines = [
        f"requests  {told['requests']:,} sent, {told['answered']:,} answered, {told['failed']:,} failed{given_up}",
        f"rate      {told['rate']:g}/s wanted, {rates}, in {told['seconds']:.1f} s",
    ]
    if figures.answered:
        lines.append("latency   " + _times(told["latency_ms"]))
    if told["first_byte_ms"]:
        lines.append("1st byte  " + _times(told["first_byte_ms"]))
    lines.append(f"late      p99 {told['late_p99_ms']:,.1f} ms: how late this program itself sent")
    for kind, count in told["errors"].items():
        words = figures.first.get(kind)
        lines.append(f"error     {count:>8,}  {kind}" + (f", the first: {one_line(words)}" if words else ""))
    if told["cache"]:
        lines.append("cache     " + ", ".join(f"{count:,} {answer}" for answer, count in told["cache"].items()))
    if not figures.answered:
        return lines
    lines.append(f"tokens    {told['input_tokens']:,} in, {told['output_tokens']:,} out")
    unpriced = f", and {figures.unpriced:,} answers of models without a price" if figures.unpriced else ""
    lines.append(f"cost      {usd(told['cost_usd'])}{unpriced}")
    return lines


def _times(percentiles: dict[str, float]) -> str:
    return ", ".join(f"{name} {ms:,.1f} ms" for name, ms in percentiles.items())
