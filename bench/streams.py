"""Many streams at once, read by one client that watches the pauses between their tokens.

`python -m bench.streams --port N --streams 1000 --rate 20 --ramp 5 --steady 15` prints a line of JSON when the steady
window begins (`{"event": "steady"}`), one when it ends (`{"event": "over"}`) and one with what it found.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import time
from array import array
from dataclasses import asdict, dataclass
from typing import cast

import httptools
import uvloop

from bench import workload
from bench.alarm import DelayLine
from bench.statistics import percentile

STALL_SECONDS = 0.5


@dataclass(frozen=True)
class Gaps:
    """What a run found: milliseconds between two arrivals of a stream; `first_ms` is to the first, 99th percentile."""

    complete: int
    broken: int
    stalls: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    first_ms: float


class Watch:
    """What all streams report to."""

    def __init__(self, streams: int) -> None:
        self._left = streams
        self.gaps = array("d")
        self.firsts = array("d")
        self.complete = 0
        self.broken = 0
        self.finished = asyncio.Event()

    def ended(self, *, complete: bool) -> None:
        """One stream is over; complete when every event that was asked for arrived."""
        self.complete += complete
        self.broken += not complete
        self._left -= 1
        if not self._left:
            self.finished.set()


class Stream(asyncio.Protocol):
    """One connection with one stream on it."""

    def __init__(self, watch: Watch, request: bytes, tokens: int) -> None:
        self._watch = watch
        self._request = request
        self._expected = tokens + workload.EVENTS_BESIDE_TOKENS
        self._events = 0
        self._end = b""
        self._last = 0.0
        self._started = False
        self._complete = False
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def begin(self) -> None:
        """Asks for the stream."""
        assert self._transport is not None
        self._last = time.monotonic()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        (self._watch.gaps if self._started else self._watch.firsts).append(now - self._last)
        self._started, self._last = True, now
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        # An event's end may arrive in two pieces.
        self._events += (self._end + body).count(b"\n\n")
        self._end = b"\n" if body.endswith(b"\n") and not body.endswith(b"\n\n") else b""

    def on_message_complete(self) -> None:
        self._complete = self._parser.get_status_code() == 200 and self._events == self._expected
        assert self._transport is not None
        self._transport.close()

    def connection_lost(self, _reason: Exception | None) -> None:
        self._watch.ended(complete=self._complete)


def _say(event: str) -> None:
    print(json.dumps({"event": event}), flush=True)


async def _run(port: int, streams: int, rate: float, ramp: float, steady: float) -> Gaps:
    loop = asyncio.get_running_loop()
    tokens = round(rate * (ramp + steady))
    request = workload.raw_request(port, workload.stream_request_body(tokens))
    watch = Watch(streams)
    opened = []
    for _ in range(streams):
        _transport, stream = await loop.create_connection(lambda: Stream(watch, request, tokens), "127.0.0.1", port)
        opened.append(stream)
    gc.freeze()
    gc.disable()  # the harness must not pause
    start, line = time.monotonic(), DelayLine(loop)
    # Begun evenly over the ramp, so that the tokens of different streams do not march in step.
    for number, stream in enumerate(opened):
        line.at(start + ramp * number / streams, stream.begin)
    await asyncio.sleep(start + ramp - time.monotonic())
    _say("steady")
    await asyncio.sleep(start + ramp + steady - 0.2 - time.monotonic())
    _say("over")
    try:
        await asyncio.wait_for(watch.finished.wait(), ramp + 10.0)
    except TimeoutError:
        watch.broken = streams - watch.complete
    return Gaps(
        complete=watch.complete,
        broken=watch.broken,
        stalls=sum(gap > STALL_SECONDS for gap in (*watch.gaps, *watch.firsts)),
        p50_ms=percentile(watch.gaps, 50) * 1e3,
        p99_ms=percentile(watch.gaps, 99) * 1e3,
        max_ms=max(watch.gaps, default=0.0) * 1e3,
        first_ms=percentile(watch.firsts, 99) * 1e3,
    )


def main() -> None:
    """Opens the streams and prints what it found."""
    parser = argparse.ArgumentParser(prog="bench.streams")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument(
        "--rate", type=float, default=20.0, help="tokens a second of each stream, as the upstream sends"
    )
    parser.add_argument("--ramp", type=float, default=5.0, help="seconds over which the streams begin")
    parser.add_argument("--steady", type=float, default=15.0, help="seconds with all of them")
    options = parser.parse_args()
    found = uvloop.run(_run(options.port, options.streams, options.rate, options.ramp, options.steady))
    print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
