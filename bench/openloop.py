"""An open-loop load: requests leave by the clock, whatever the answers do.

`python -m bench.openloop --port N --connections 1000 --rate 1200 --seconds 10 --warmup 2` prints one line of JSON.
Latency is counted from the moment at which a request was due, so a slow answer cannot hide the requests that it held up
(coordinated omission). Arrivals are evenly spaced; connections take turns, all are kept alive.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import cast

import httptools
import uvloop

from bench import workload
from bench.alarm import Alarm
from bench.statistics import percentile

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Latencies:
    """What a run found: milliseconds from due to answered; `late_ms` is the generator's own delay, 99th percentile."""

    answered: int
    failed: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    late_ms: float
    by_priority: dict[str, Share] = field(default_factory=dict)
    refused_p99_ms: float = 0.0


@dataclass(frozen=True)
class Share:
    """What became of the requests of one priority, after the warm-up."""

    answered: int
    refused: int
    p50_ms: float
    p99_ms: float


class Generator:
    """Sends on time, hands arrivals to idle connections in turn, and notes how long each answer took."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, rate: float, warmup: float, seconds: float, kinds: int = 1
    ) -> None:
        self._interval = 1.0 / rate
        self._unmeasured, self._total = round(rate * warmup), round(rate * (warmup + seconds))
        self._idle: deque[Connection] = deque()
        self._waiting: deque[tuple[int, float]] = deque()
        self._alarm = Alarm(loop, self._ring)
        self._done = asyncio.Event()
        self._start = 0.0
        self._next = 0
        self._outstanding = 0
        self.latencies: list[float] = []
        self.lateness: list[float] = []
        self.failed = 0
        self.by_kind: list[list[float]] = [[] for _ in range(kinds)]
        self.refused: list[list[float]] = [[] for _ in range(kinds)]

    async def run(self) -> None:
        """Sends all requests, then waits a while for the last answers; those that never come have failed."""
        self._start = time.monotonic() + 0.01
        self._alarm.set(self._start)
        last = self._total * self._interval
        try:
            await asyncio.wait_for(self._done.wait(), last + _ANSWER_SECONDS)
        except TimeoutError:
            self.failed += self._outstanding

    def connected(self, connection: Connection) -> None:
        """One more connection to send on."""
        self._idle.append(connection)

    def answered(self, connection: Connection, number: int, due: float, *, ok: bool) -> None:
        """An answer is complete."""
        took, kind = time.monotonic() - due, number % len(self.by_kind)
        if not ok:
            self.failed += 1
            if number >= self._unmeasured:
                self.refused[kind].append(took)
        elif number >= self._unmeasured:
            self.latencies.append(took)
            self.by_kind[kind].append(took)
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._idle.append(connection)
        self._finished()

    def lost(self, connection: Connection, *, unanswered: bool) -> None:
        """A connection was closed by the other side: with a request on it, that request has failed."""
        if unanswered:
            self.failed += 1
            self._finished()
        elif connection in self._idle:
            self._idle.remove(connection)

    def _finished(self) -> None:
        self._outstanding -= 1
        if not self._outstanding and self._next == self._total:
            self._done.set()

    def _ring(self) -> None:
        while self._next < self._total:
            due = self._start + self._next * self._interval
            now = time.monotonic()
            if due > now:
                self._alarm.set(due)
                return
            self.lateness.append(now - due)
            self._outstanding += 1
            if self._idle:
                self._idle.popleft().send(self._next, due)
            else:
                self._waiting.append((self._next, due))
            self._next += 1


class Connection(asyncio.Protocol):
    """One kept connection with at most one request on it."""

    def __init__(self, generator: Generator, requests: list[bytes]) -> None:
        self._generator = generator
        self._requests = requests
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._number = -1
        self._due = 0.0

    def send(self, number: int, due: float) -> None:
        """Writes request `number`, which was due at `due`."""
        assert self._transport is not None
        self._number, self._due = number, due
        self._transport.write(self._requests[number % len(self._requests)])

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._generator.connected(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        number, self._number = self._number, -1
        self._generator.answered(self, number, self._due, ok=self._parser.get_status_code() == 200)

    def connection_lost(self, _reason: Exception | None) -> None:
        self._generator.lost(self, unanswered=self._number >= 0)


async def _run(
    port: int, connections: int, rate: float, warmup: float, seconds: float, priorities: list[int]
) -> Latencies:
    loop = asyncio.get_running_loop()
    generator = Generator(loop, rate, warmup, seconds, max(1, len(priorities)))
    plain = workload.raw_request(port, workload.request_body())
    named = [plain.replace(b"\r\n\r\n", b"\r\nx-priority: %d\r\n\r\n" % each, 1) for each in priorities]
    requests = named or [plain]
    transports = []
    for _ in range(connections):
        transport, _protocol = await loop.create_connection(lambda: Connection(generator, requests), "127.0.0.1", port)
        transports.append(transport)
    gc.freeze()
    gc.disable()  # the harness must not pause
    await generator.run()
    result = Latencies(
        answered=len(generator.latencies),
        failed=generator.failed,
        p50_ms=percentile(generator.latencies, 50) * 1e3,
        p95_ms=percentile(generator.latencies, 95) * 1e3,
        p99_ms=percentile(generator.latencies, 99) * 1e3,
        max_ms=max(generator.latencies, default=0.0) * 1e3,
        late_ms=percentile(generator.lateness, 99) * 1e3,
        by_priority={
            str(priority): Share(len(took), len(no), percentile(took, 50) * 1e3, percentile(took, 99) * 1e3)
            for priority, took, no in zip(priorities, generator.by_kind, generator.refused, strict=False)
        },
        refused_p99_ms=percentile([took for no in generator.refused for took in no], 99) * 1e3,
    )
    for transport in transports:
        transport.abort()
    return result


def main() -> None:
    """Loads a port and prints what it found."""
    parser = argparse.ArgumentParser(prog="bench.openloop")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=1200.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warmup", type=float, default=2.0, help="seconds that are sent but not counted")
    parser.add_argument("--priorities", type=int, nargs="*", default=[], help="requests bear them in turn")
    options = parser.parse_args()
    found = uvloop.run(
        _run(options.port, options.connections, options.rate, options.warmup, options.seconds, options.priorities)
    )
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
