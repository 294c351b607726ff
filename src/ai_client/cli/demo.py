"""`ai-client demo`: real questions through a daemon, and what came of it. What `make run` calls."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

from ai_client.batch.tally import Summary
from ai_client.cli.batch_view import usd
from ai_client.cli.children import Children, clean_environment, send
from ai_client.cli.demo_results import Metrics, Question, Results, estimate, figures_of, graded, show
from ai_client.cli.probe import get_local
from ai_client.clock import Clock, SystemClock
from ai_client.config.layers import KEY_VARIABLE, PATH_VARIABLE
from ai_client.config.load import load
from ai_client.errors import InvalidRequestError, UpstreamError

_KEYS: Final = (KEY_VARIABLE, "AI_CLIENT_API__API_KEY")
_QUESTIONS: Final = Path("data/prompts/gsm8k_questions.jsonl")
_INSTRUCTION: Final = "Solve the problem step by step. End with a line that holds the answer alone, as: #### NUMBER\n"
_MAX_TOKENS: Final = 400
_CONCURRENCY: Final = 160
_PER_MINUTE: Final = 5_400
_SEED: Final = 1
_FAULT: Final = "status:503@p=0.01"
_SIGNALLED: Final = 128
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_CONFIGURATION: Final = """\
# What the demonstration's daemon ran with.
[logging]
destination = file
log_dir = {folder}/logs

[monitoring]
export_prometheus = false

[caching]
persistent = no

[costs]
ledger = {folder}/ledger.sqlite
"""
_SIMULATED: Final = """
[api]
provider = simulator
base_url = {url}
api_key = demo
connection_pool_size = {concurrency}

[limits]
requests_per_minute = {per_minute}
tokens_per_minute = 0

[performance]
max_concurrent_requests = {concurrency}
"""


class Stage(msgspec.Struct):
    """What the demonstration works with."""

    folder: Path
    questions: Path
    book: dict[str, Question]
    environ: dict[str, str]
    real: bool
    clock: Clock
    batch: Process | None = None
    signals: list[int] = []

    @property
    def configuration(self) -> Path:
        """The daemon's configuration."""
        return self.folder / "ai-client.conf"


@click.command(short_help="Send real questions through a daemon and show what came of it.")
@click.option(
    "--questions",
    type=click.Path(path_type=Path),
    default=_QUESTIONS,
    show_default=True,
    metavar="FILE",
    help="JSON lines with id, question and answer.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="The results.  [default: results/demo-…]")
@click.option("--yes", is_flag=True, help="Do not ask before real money is spent.")
def demo(questions: Path, out: Path | None, *, yes: bool) -> None:
    """Start a simulated provider and the daemon, send 1,319 questions through `ai-client batch`, and show what it took.

    Shows throughput, latency, cost by model and what one model alone would have cost, how many answers are right, and
    what the daemon did. Leaves answers, a report with plots, logs and a ledger in a folder.

    With a key in $HOLYSHEEP_API_KEY the questions go to the real provider, after you were told what that costs and
    agreed. After ^C, the same command with --out DIR goes on where it stopped.
    """
    clock = SystemClock()
    book = _read(questions)
    real = any(os.environ.get(name) for name in _KEYS)
    now = dt.datetime.fromtimestamp(clock.unix_ns() // 1_000_000_000, dt.UTC).astimezone()
    folder = (out or Path("results") / f"demo-{now:%Y%m%d-%H%M%S}").absolute()
    environ = dict(os.environ) if real else clean_environment(os.environ)
    stage = Stage(folder, questions.absolute(), book, environ, real, clock)
    environ[PATH_VARIABLE] = str(stage.configuration)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_input(stage)
        stage.configuration.write_text(_CONFIGURATION.format(folder=folder), "utf-8")
        if real:
            _agree(stage, yes=yes)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_guarded(stage))
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from None
    if stage.signals:
        _say(f"Stopped. To go on: ai-client demo --out {_shown(folder)}")
    sys.exit(code)


def _read(path: Path) -> dict[str, Question]:
    """The questions by their ids. Raises `InvalidRequestError`."""
    try:
        lines = path.read_bytes().splitlines()
        book = [msgspec.json.decode(line, type=Question) for line in lines if line.strip()]
    except OSError as error:
        advice = "run this in the project's folder, or name --questions FILE"
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}; {advice}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"{path} is not JSON lines with id, question and answer: {error}") from None
    if not book:
        raise InvalidRequestError(f"{path} holds no questions")
    return {question.id: question for question in book}


def _write_input(stage: Stage) -> None:
    """The batch's input. The same questions give the same bytes, so a batch that was stopped goes on."""
    with (stage.folder / "questions.jsonl").open("wb") as file:
        for question in stage.book.values():
            messages = [
                {"role": "system", "content": _INSTRUCTION},
                {"role": "user", "content": question.question},
            ]
            file.write(msgspec.json.encode({"custom_id": question.id, "messages": messages}) + b"\n")


def _agree(stage: Stage, *, yes: bool) -> None:
    """Say what the real provider will ask for it, and go on only when that is agreed to."""
    config = load(stage.configuration, stage.environ).config
    expected = estimate(config, stage.book.values(), _INSTRUCTION)
    unpriced = (
        f", besides what {', '.join(expected.unpriced)} costs, whose price is not known" if expected.unpriced else ""
    )
    _say(
        f"There is a key in the environment: {len(stage.book):,} questions go to {config.api.base_url}, about "
        f"{expected.input_tokens:,} tokens in and {expected.output_tokens:,} out (assumed). "
        f"They will cost about {usd(expected.usd)}{unpriced}."
    )
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidRequestError("nobody is there to agree to that: say --yes, or unset the key to use the simulator")
    click.confirm("Go on?", abort=True, err=True)


async def _guarded(stage: Stage) -> int:
    """The run. Signals end the batch in good order, or, when there is none under way, everything at once."""
    task = asyncio.current_task()
    assert task is not None

    def stop(number: int) -> None:
        stage.signals.append(number)
        if stage.batch is not None and stage.batch.returncode is None:
            send(stage.batch, signal.SIGINT)
        else:
            task.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        async with Children(stage.environ) as children:
            code = await _run(stage, children)
    except asyncio.CancelledError:
        if not stage.signals:
            raise
        code = 0
    return _SIGNALLED + stage.signals[0] if stage.signals else code


async def _run(stage: Stage, children: Children) -> int:
    provider = "the real provider"
    if not stage.real:
        url = await _simulator(stage, children)
        settings = {"url": url, "concurrency": _CONCURRENCY, "per_minute": _PER_MINUTE}
        with stage.configuration.open("a", encoding="utf-8") as file:
            file.write(_SIMULATED.format_map(settings))
        provider = f"a simulated provider at {url}, which fails one call in a hundred"
    serve = ("serve", "--config", str(stage.configuration), "--listen", "127.0.0.1:0")
    daemon = await children.start(*serve, stderr=PIPE)
    address = (await children.announced(daemon, daemon.stderr, "ai-client serves on ")).split(", ")[0]
    _say(f"{len(stage.book):,} questions, through the daemon at {address}, to {provider}.")
    code, summary = await _batch(stage, children, address)
    if summary is None or stage.signals:
        return code or 1
    folder = stage.folder
    written = msgspec.json.decode((folder / "summary.json").read_bytes())
    metrics = await _metrics(stage, address)
    with (folder / "answers.jsonl").open("rb") as file:
        grades = graded(file, stage.book)
    show(Results(summary, written["alternatives"], grades, metrics, _shown(folder)))
    return code


async def _metrics(stage: Stage, address: str) -> Metrics | None:
    """The daemon's own figures; None when it gives none, for what the batch has is worth showing all the same."""
    try:
        answer = await get_local(address, "/metrics", stage.clock)
    except UpstreamError:
        return None
    return figures_of(answer.body.decode()) if answer.status == 200 else None


async def _simulator(stage: Stage, children: Children) -> str:
    options = ("--listen", "127.0.0.1:0", "--seed", str(_SEED), "--rpm", str(_PER_MINUTE), "--fault", _FAULT)
    process = await children.start("simulate", *options, "--answers", str(stage.questions), stdout=PIPE)
    return await children.announced(process, process.stdout, "listening on ")


async def _batch(stage: Stage, children: Children, address: str) -> tuple[int, Summary | None]:
    """Run the batch; its exit code, and its summary if there is one."""
    folder = stage.folder
    files = (str(folder / "questions.jsonl"), "-o", str(folder / "answers.jsonl"), "--report", str(folder))
    concurrency = () if stage.real else ("--concurrency", str(_CONCURRENCY))
    asked = ("--model", "auto", "--max-tokens", str(_MAX_TOKENS), "--local", address, "--json")
    process: Process = await children.start("batch", *files, *asked, *concurrency, stdout=PIPE)
    stage.batch = process
    output, _ = await process.communicate()
    code = process.returncode or 0
    try:
        return code, msgspec.json.decode(output, type=Summary)
    except msgspec.DecodeError:  # it has said on our standard error what went wrong
        return code, None


def _shown(folder: Path) -> Path:
    """As short as it can be named from here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _say(text: str) -> None:
    click.echo(text, err=True)
