"""The pool under thousands of requests that are cancelled, cut off, timed out and dropped at every moment.

Each answer carries the number of its request, so that one given to the wrong request is noticed. After each storm
everything has to be back at zero.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import pytest
import uvloop

from ai_client.errors import BrokenReplyError, ConnectError, OverloadedError, UpstreamTimeoutError
from ai_client.transport.incoming import Incoming
from ai_client.transport.pool import Pool
from ai_client.transport.timer import Timeouts
from tests.wire import RawClient, Upstream, read_request, turns, until

REQUESTS = 3000
KINDS = ["whole", "stream", "chunks", "end", "close", "surplus", "cut", "reset", "mute", "hang", "garbage", "slow"]
WEIGHTS = [30, 15, 15, 5, 5, 3, 3, 3, 3, 3, 3, 12]


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n"


async def provider(client: RawClient) -> None:
    """Does with each request what its path says: `/KIND/NUMBER`."""
    while True:
        first, _ = await read_request(client)
        _, kind, number = first.split(" ")[1].split("/")
        body = f'{{"number":{number}}}'.encode()
        if kind in ("stream", "chunks", "slow"):
            await _stream(client, kind, body)
        else:
            client.send(_said(kind, body))
            if kind == "reset":
                client.writer.transport.abort()
            if kind == "hang":
                await client.reader.read()
            if kind not in ("whole", "surplus", "garbage"):
                return


def _said(kind: str, body: bytes) -> bytes:
    whole = HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(body) + body
    said = {
        "whole": whole,
        "surplus": whole * 2,
        "close": whole.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"),
        "end": HEAD % b"text/event-stream" + b"\r\n" + body,
        "cut": whole[:-3],
        "garbage": b"<html>",
    }
    return said.get(kind, b"")


async def _stream(client: RawClient, kind: str, body: bytes) -> None:
    pieces = [body[:4], body[4:]]
    head = HEAD % b"text/event-stream"
    if kind == "stream":
        client.send(head + b"content-length: %d\r\n\r\n" % len(body))
    else:
        client.send(head + b"transfer-encoding: chunked\r\n\r\n")
        pieces = [*(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces), b"0\r\n\r\n"]
    for piece in pieces:
        await turns(3 if kind == "slow" else 0)
        client.send(piece)


class Storm:
    """Requests without number, and the ends they come to."""

    def __init__(self, pool: Pool, size: int, chance: random.Random) -> None:
        self._pool = pool
        self._size = size
        self._chance = chance
        self.ends: Counter[str] = Counter()

    async def blow(self, requests: int) -> None:
        running: set[asyncio.Task[None]] = set()
        for number in range(requests):
            (kind,) = self._chance.choices(KINDS, WEIGHTS)
            task = asyncio.ensure_future(self._request(kind, number))
            running.add(task)
            task.add_done_callback(running.discard)
            if self._chance.random() < 0.4:
                asyncio.ensure_future(self._cancel(task, self._chance.choice((0, 1, 1, 2, 3, 4, 5, 6, 8, 10, 15))))  # noqa: RUF006
            self._check()
            while len(running) > self._chance.randint(1, 4 * self._size):
                await asyncio.sleep(0)
                self._check()
        while running:
            await asyncio.sleep(0)
            self._check()

    async def _cancel(self, task: asyncio.Task[None], patience: int) -> None:
        await turns(patience)
        task.cancel()

    async def _request(self, kind: str, number: int) -> None:
        idle = 0.01 if self._chance.random() < 0.1 else 5.0
        timeouts = Timeouts(0.02 if kind == "hang" else 5.0, idle, 5.0)
        wire = f"POST /{kind}/{number} HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{{}}".encode()
        try:
            incoming = await self._pool.request(wire, timeouts)
            await self._use(incoming, number)
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1
        except (BrokenReplyError, ConnectError, OverloadedError, UpstreamTimeoutError) as error:
            self.ends[type(error).__name__] += 1
        else:
            self.ends["served"] += 1

    async def _use(self, incoming: Incoming, number: int) -> None:
        expected = f'{{"number":{number}}}'.encode()
        if not incoming.streamed:
            assert incoming.body == expected
            return
        ending = self._chance.randint(0, 5)
        if ending == 0:
            incoming.close()
        elif ending == 1:
            incoming.discard()
        elif ending == 2:
            assert expected.startswith(await incoming.read())
            incoming.discard() if self._chance.random() < 0.5 else incoming.close()
        else:
            await turns(self._chance.randint(0, 5))  # the connection may be another's before this one is read
            assert await incoming.read_all(100) == expected

    def _check(self) -> None:
        pool = self._pool
        assert pool._opening >= 0
        assert len(pool._all) + pool._opening <= self._size
        assert len(pool._idle) == len(set(pool._idle)) <= len(pool._all)


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("size", [1, 3, 20])
def test_no_place_is_lost_and_no_answer_goes_astray(
    factory: Callable[[], asyncio.AbstractEventLoop], size: int
) -> None:
    complaints: list[object] = []

    async def scene() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        chance = random.Random(size)
        async with asyncio.timeout(120.0), Upstream(provider) as upstream:
            pool = upstream.pool(size=size, connect_timeout=0.5, keepalive_expiry=0.05)
            storm = Storm(pool, size, chance)
            await storm.blow(REQUESTS)
            assert storm.ends.total() <= REQUESTS  # those cancelled before they began came to no end
            assert storm.ends["served"] > REQUESTS / 5
            assert storm.ends["cancelled"] > REQUESTS / 20
            assert (pool._opening, pool.waiting) == (0, 0)
            # everything that is left rests, and expires
            await until(lambda: not pool.open_connections)
            await until(lambda: not upstream.open)
            assert pool._idle == []
            # and the pool is as good as new
            await asyncio.gather(*(storm._request("whole", number) for number in range(size * 3)))
            pool.close()
            await until(lambda: not upstream.open)
            assert (pool.open_connections, pool._opening, pool.waiting) == (0, 0, 0)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scene())
    assert complaints == []
