"""The bench's own upstream: answers after a fixed delay, or streams tokens at a fixed rate.

`python -m bench.upstream --port N [--delay 0.04] [--rate 20]`. A request with `"stream": true` gets `max_tokens`
tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import time
from functools import partial
from typing import cast

import httptools
import uvloop

from bench import workload
from bench.alarm import DelayLine


def _response(content: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def _chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Behaviour:
    """What every connection shares: the bytes, the delay, the rate, and the lines that keep time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delay: float, rate: float) -> None:
        self.reply = _response(workload.reply_body())
        self.models = _response(workload.models_body())
        self.stream_start = _STREAM_HEAD + _chunk(workload.role_event())
        self.token = _chunk(workload.token_event())
        self.delay = delay
        self.interval = 1.0 / rate
        # One line each, because the moments handed to a line must not decrease.
        self.replies = DelayLine(loop)
        self.tokens = DelayLine(loop)


class Upstream(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._parser = httptools.HttpRequestParser(self)
        self._body = b""
        self._url = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _reason: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, b""
        behaviour = self._behaviour
        now = time.monotonic()
        if self._url.endswith(b"/models"):
            self._write(behaviour.models)
        elif b'"stream":true' in body:
            tokens = int(json.loads(body)["max_tokens"])
            self._write(behaviour.stream_start)
            due = now + behaviour.interval
            behaviour.tokens.at(due, partial(self._stream, tokens, tokens, due))
        elif behaviour.delay:
            behaviour.replies.at(now + behaviour.delay, self._reply)
        else:
            self._reply()

    def _reply(self) -> None:
        self._write(self._behaviour.reply)

    def _stream(self, left: int, total: int, due: float) -> None:
        if self._transport is None:
            return
        if left == 0:
            self._write(_chunk(workload.last_events(total)) + b"0\r\n\r\n")
            return
        self._write(self._behaviour.token)
        due += self._behaviour.interval
        self._behaviour.tokens.at(due, partial(self._stream, left - 1, total, due))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


async def _serve(port: int, delay: float, rate: float) -> None:
    loop = asyncio.get_running_loop()
    behaviour = Behaviour(loop, delay, rate)
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    server = await loop.create_server(lambda: Upstream(behaviour), sock=listener)
    gc.freeze()
    gc.disable()  # the harness must not pause; nothing here makes circles that grow
    await server.serve_forever()


def main() -> None:
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser(prog="bench.upstream")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before an answer")
    parser.add_argument("--rate", type=float, default=20.0, help="tokens a second of a stream")
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.delay, options.rate))


if __name__ == "__main__":
    main()
