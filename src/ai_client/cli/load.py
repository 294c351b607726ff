"""An open-loop load: requests leave by the clock, whatever the answers do.

Latency is counted from the moment at which a request was due, so that a slow answer cannot hide the requests which it
held up (coordinated omission; Gil Tene, "How NOT to Measure Latency"). Arrivals are evenly spaced.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from ai_client.answers import nano
from ai_client.clock import Clock
from ai_client.cost.meter import cost_nano
from ai_client.cost.prices import Price
from ai_client.errors import AIClientError
from ai_client.model.usage import Usage
from ai_client.telemetry.stats import Latencies
from ai_client.transport.http import find_header
from ai_client.transport.incoming import Incoming
from ai_client.transport.pool import Pool
from ai_client.transport.sse import DONE, EventParser
from ai_client.transport.timer import Timeouts

MOST_UNDER_WAY: Final = 50_000
"""Requests without an answer at once: further ones are not sent, and counted as errors."""

_SECOND: Final = 1_000_000_000
_LARGEST: Final = 64 << 20


class _Cached(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Cached | None = None

    def read(self) -> Usage:
        details = self.prompt_tokens_details
        return Usage(self.prompt_tokens, self.completion_tokens, (details and details.cached_tokens) or 0)


class _Answer(msgspec.Struct):
    """What is read of a whole answer, and of each chunk of a streamed one."""

    model: str = ""
    usage: _Usage | None = None


class _Error(msgspec.Struct):
    code: str | int | None = None
    message: object = None


class _Refusal(msgspec.Struct):
    error: _Error | None = None


_answer = msgspec.json.Decoder(_Answer)
_refusal = msgspec.json.Decoder(_Refusal)


class Plan(msgspec.Struct, frozen=True):
    """`rate` requests a second for `duration` seconds; `patience` is what one may take, in seconds."""

    rate: float
    duration: float
    patience: float

    @property
    def requests(self) -> int:
        """How many there will be."""
        return max(1, round(self.rate * self.duration))


class Figures:
    """What a run found. Latencies run from when a request was due; those of errors are not among them.

    `first` has the words of the first of each kind of `errors` that came with any. `sending_ns` runs until one more
    request would have been due.
    """

    def __init__(self) -> None:
        self.due = 0
        self.answered = 0
        self.errors: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.cache: Counter[str] = Counter()
        self.latencies = Latencies()
        self.first_bytes = Latencies()
        self.lateness = Latencies()
        self.slowest_ns = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost_nano = 0
        self.unpriced = 0
        self.sending_ns = 0
        self.elapsed_ns = 0

    def fail(self, kind: str, words: str = "") -> None:
        """Count an error."""
        self.errors[kind] += 1
        if words:
            self.first.setdefault(kind, words)


class OpenLoop:
    """Sends what `wire(number)` gives for each request, from 0, through one pool."""

    def __init__(
        self,
        pool: Pool,
        plan: Plan,
        wire: Callable[[int], bytes],
        price: Callable[[str], Price | None],
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._plan = plan
        self._wire = wire
        self._price = price
        self._clock = clock
        self._timeouts = Timeouts(plan.patience, plan.patience, plan.patience)
        self._under_way: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self.figures = Figures()

    def stop(self) -> None:
        """Send no more, and give up what is under way: the figures stay."""
        self._stop.set()

    async def run(self) -> Figures:
        """Send everything, then wait for the last answers."""
        clock = self._clock
        start = clock.monotonic_ns()
        await self._send_all(start)
        if self._under_way and not self._stop.is_set():
            stopped = asyncio.ensure_future(self._stop.wait())
            while self._under_way and not stopped.done():
                await asyncio.wait({stopped, *self._under_way}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        self.figures.elapsed_ns = clock.monotonic_ns() - start
        return self.figures

    async def _send_all(self, start: int) -> None:
        clock, figures, total = self._clock, self.figures, self._plan.requests
        interval = _SECOND / self._plan.rate
        while figures.due < total and not self._stop.is_set():
            due = start + round(figures.due * interval)
            ahead = due - clock.monotonic_ns()
            if ahead > 0:
                try:
                    async with asyncio.timeout(ahead / _SECOND):
                        await self._stop.wait()
                except TimeoutError:
                    continue
                return
            figures.lateness.add(-ahead)
            self._send(figures.due, due)
            figures.due += 1
            figures.sending_ns = round(figures.due * interval) - ahead
            if not figures.due % 64:  # far behind, there is always another one due: let the answers in as well
                await asyncio.sleep(0)

    def _send(self, number: int, due: int) -> None:
        if len(self._under_way) >= MOST_UNDER_WAY:
            self.figures.fail("not sent: too many under way")
            return
        task = asyncio.create_task(self._one(self._wire(number), due))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _one(self, wire: bytes, due: int) -> None:
        figures = self.figures
        try:
            incoming = await self._pool.request(wire, self._timeouts)
            if incoming.status >= 400:
                figures.fail(*_refused(incoming.status, await incoming.read_all(_LARGEST)))
                return
            answer, first = await self._read(incoming)
        except AIClientError as error:
            figures.fail(error.code or error.type, error.message)
            return
        except (msgspec.DecodeError, UnicodeDecodeError):
            figures.fail("not JSON")
            return
        now = self._clock.monotonic_ns()
        figures.answered += 1
        figures.latencies.add(now - due)
        figures.slowest_ns = max(figures.slowest_ns, now - due)
        if incoming.streamed:
            figures.first_bytes.add(first - due)
        self._book(incoming, answer)

    async def _read(self, incoming: Incoming) -> tuple[_Answer, int]:
        """The fields of an answer that count, and when the first of it came. Raises `AIClientError`, DecodeError."""
        if not incoming.streamed:
            return _answer.decode(incoming.body), 0
        parser = EventParser()
        found = _Answer()
        first = 0
        done = False
        while piece := await incoming.read():
            first = first or self._clock.monotonic_ns()
            for event in parser.feed(piece):
                if event.event == b"error":
                    raise AIClientError("the stream ended with an error")
                done = done or event.data == DONE
                if event.data and event.data != DONE:
                    chunk = _answer.decode(event.data)
                    found.model = chunk.model or found.model
                    found.usage = chunk.usage or found.usage
        if not done:
            raise AIClientError("the stream was cut off")
        return found, first

    def _book(self, incoming: Incoming, answer: _Answer) -> None:
        figures = self.figures
        cache = find_header(incoming.headers, b"x-ai-client-cache")
        if cache is not None:
            figures.cache[cache.decode("latin-1")] += 1
        usage = answer.usage.read() if answer.usage is not None else Usage()
        figures.input_tokens += usage.input_tokens
        figures.output_tokens += usage.output_tokens
        told = find_header(incoming.headers, b"x-ai-client-cost-usd")
        if told is not None:
            figures.cost_nano += nano(told)
        elif cache not in (b"hit", b"coalesced"):  # a stream's headers leave before its cost is known
            price = self._price(answer.model)
            if price is None:
                figures.unpriced += 1
            else:
                figures.cost_nano += cost_nano(price, usage)


def _refused(status: int, body: bytes) -> tuple[str, str]:
    """`429 rate_limit_exceeded`: the status, and the code where the answer names one; and what the answer says."""
    try:
        error = _refusal.decode(body).error or _Error()
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = _Error()
    kind = f"{status} {error.code}" if error.code else str(status)
    return kind, error.message if isinstance(error.message, str) else ""
