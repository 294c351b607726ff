"""What a person sees of a batch: a bar on a terminal, a line now and then elsewhere, and the summary at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from ai_client.batch.job import Ending
from ai_client.batch.tally import Summary, Tally
from ai_client.cli.group import one_line
from ai_client.clock import Clock

_SECOND: Final = 1_000_000_000
_WINDOW: Final = 15  # seconds over which the rate is taken
_BAR_EVERY_NS: Final = _SECOND // 10
_LINE_EVERY_NS: Final = 5 * _SECOND
_MINUTE: Final = 60
_HOUR: Final = 3600
_CENT: Final = 0.01
_MUCH: Final = 100


class View(Protocol):
    """Shows how a run is coming on."""

    def say(self, text: str) -> None:
        """Show a line of text."""

    def watch(self, tally: Tally) -> None:
        """Show the counts, if it is time to."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Pace:
    """How fast lines are done at present, and so how long the others will take."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[tuple[int, int]] = deque(maxlen=_WINDOW)

    def rate(self, tally: Tally) -> float:
        """Lines a second over the last 15 seconds; lines that earlier runs answered do not count."""
        now, done = self._clock.monotonic_ns(), tally.done - tally.resumed
        if not self._samples or now - self._samples[-1][0] >= _SECOND:
            self._samples.append((now, done))
        since, before = self._samples[0]
        return (done - before) * _SECOND / (now - since) if now > since else 0.0

    def text(self, tally: Tally) -> str:
        """`107.2/s, $0.0132, 2 failed, 0:41 left`."""
        rate = self.rate(tally)
        parts = [f"{rate:,.1f}/s", usd(tally.cost_nano / _SECOND)]
        if tally.failed:
            parts.append(f"{tally.failed:,} failed")
        parts.append(f"{_duration((tally.lines - tally.done) / rate)} left" if rate else "-:-- left")
        return ", ".join(parts)


class Lines:
    """A line every five seconds: for logs, pipes and dumb terminals."""

    def __init__(self, file: TextIO, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._pace = Pace(clock)
        self._next_ns = clock.monotonic_ns() + _LINE_EVERY_NS

    def say(self, text: str) -> None:
        """Write a line."""
        print(text, file=self._file, flush=True)

    def watch(self, tally: Tally) -> None:
        """Write a line when the last one is five seconds old."""
        text = self._pace.text(tally)
        if (now := self._clock.monotonic_ns()) >= self._next_ns:
            self._next_ns = now + _LINE_EVERY_NS
            self.say(f"{tally.done:,} of {tally.lines:,} lines, {text}")

    def close(self) -> None:
        """Nothing is left on the terminal."""


class Bar:
    """A progress bar on a terminal."""

    def __init__(self, file: TextIO, clock: Clock) -> None:
        self._clock = clock
        self._pace = Pace(clock)
        self._next_ns = 0
        self._progress = Progress(
            BarColumn(), TextColumn("{task.completed:,.0f} of {task.total:,.0f}"), TextColumn("{task.fields[text]}"),
            console=Console(file=file), auto_refresh=False,
        )  # fmt: skip
        self._task = self._progress.add_task("", text="", visible=False)
        self._progress.start()

    def say(self, text: str) -> None:
        """Write a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def watch(self, tally: Tally) -> None:
        """Draw the bar, at most ten times a second, and at the end."""
        now = self._clock.monotonic_ns()
        if now >= self._next_ns or tally.done == tally.lines:
            self._next_ns = now + _BAR_EVERY_NS
            self._progress.update(
                self._task,
                completed=tally.done,
                total=tally.lines,
                text=self._pace.text(tally),
                visible=True,
                refresh=True,
            )

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._progress.stop()


def view(file: TextIO, clock: Clock) -> View:
    """A bar where `file` is a terminal that can show one, lines elsewhere."""
    console = Console(file=file)
    return Bar(file, clock) if console.is_terminal and not console.is_dumb_terminal else Lines(file, clock)


def summary_text(summary: Summary) -> Iterator[str]:
    """The summary, line by line."""
    asked = summary.lines - summary.blank
    earlier = f", {summary.resumed:,} of them in earlier runs" if summary.resumed else ""
    yield f"answered  {summary.answered:,} of {asked:,}{earlier}"
    if summary.failed:
        yield f"failed    {summary.failed:,}: see {summary.errors}"
        for code, failures in summary.failures.items():
            yield f"          {failures.lines:>8,}  {code}, the first: {one_line(failures.first)}"
    if summary.blank:
        yield f"blank     {summary.blank:,}: their numbers are in {summary.errors}"
    yield f"time      {_duration(summary.duration_s)}, {summary.requests_per_second:,.1f} answers/s"
    if not summary.answered:
        return  # and so nothing of what follows
    latency = summary.latency_ms
    yield f"latency   p50 {latency.p50:,.0f} ms, p95 {latency.p95:,.0f} ms, p99 {latency.p99:,.0f} ms"
    hits = f", {summary.cache_hits:,} answers from the cache" if summary.cache_hits else ""
    yield f"tokens    {summary.input_tokens:,} in, {summary.output_tokens:,} out{hits}"
    yield f"cost      {usd(summary.cost_usd)}"
    width = max(map(len, summary.models), default=0)
    for name, model in summary.models.items():
        cost = "unknown: it has no price" if model.cost_usd is None else usd(model.cost_usd)
        yield f"          {name:<{width}}  {model.answers:>8,} {'answer ' if model.answers == 1 else 'answers'}  {cost}"
    yield f"answers   {summary.output}"


def advice(summary: Summary) -> str:
    """What to do next; empty when all is done."""
    ending, reason = Ending(summary.ending), one_line(summary.reason).rstrip(".")
    if ending is Ending.COMPLETE:
        again = "The same command asks those again whose error may pass." if summary.retryable else ""
        refused = "With --retry-errors it also asks those again that were refused." if summary.refused else ""
        return f"{again} {refused}".strip()
    happened = {
        Ending.INTERRUPTED: "Stopped",
        Ending.UNAVAILABLE: f"Stopped, since nothing answers any more: {reason}",
        Ending.REFUSED: f"Stopped, since no line can be answered: {reason}",
        Ending.UNREADABLE: f"Stopped: {reason}",
        Ending.WRITE_FAILED: f"Stopped: {reason}. What was written before is safe; make room",
    }
    return f"{happened[ending]}. {summary.remaining:,} lines remain: the same command goes on where this run stopped."


def usd(dollars: float) -> str:
    """Dollars, with as many decimals as a small sum needs."""
    decimals = 2 if dollars >= _MUCH else 4 if dollars >= _CENT or not dollars else 6
    return f"${dollars:,.{decimals}f}"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{whole // _MINUTE}:{whole % _MINUTE:02d} min"
    return f"{whole // _HOUR}:{whole % _HOUR // _MINUTE:02d} h"
