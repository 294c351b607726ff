"""Answers without a connection, and pieces handed on as they arrive; how they arrive, see test_connection.py."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import BrokenReplyError, UpstreamTimeoutError
from ai_client.transport.incoming import Incoming
from ai_client.transport.timer import Timeouts
from tests.running import Run
from tests.wire import PATIENT, RawClient, Upstream, answer_with, post, read_request, turns, until

HEAD = "HTTP/1.1 200 OK\nContent-Type: text/event-stream"
CHUNKED = answer_with(f"{HEAD}\nTransfer-Encoding: chunked")


def test_a_whole_answer_is_complete_in_itself(run: Run) -> None:
    incoming = Incoming(200, [(b"a", b"1")], b"body")

    async def scene() -> None:
        assert not incoming.streamed
        assert await incoming.read() == b""
        assert await incoming.read_all(0) == b"body"
        assert await incoming.feed(lambda _: False) is True
        incoming.discard()
        incoming.close()
        assert await incoming.read_all(0) == b"body"

    run(scene())


class Dictated:
    """A provider that says what it is told, when it is told."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def say(self, text: bytes) -> None:
        self._lines.put_nowait(b"%x\r\n%b\r\n" % (len(text), text))

    def end(self) -> None:
        self._lines.put_nowait(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self._lines.put_nowait(None)

    async def __call__(self, client: RawClient) -> None:
        await read_request(client)
        client.send(CHUNKED)
        while (line := await self._lines.get()) is not None:
            client.send(line)


def test_pieces_are_handed_on_as_they_arrive(on_each: Run) -> None:
    async def scene() -> None:
        provider = Dictated()
        async with Upstream(provider) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            provider.say(b"first")
            await until(lambda: incoming._size == 5)
            seen: list[bytes] = []

            def take(piece: bytes) -> bool:
                seen.append(piece)
                return piece != b"stop"

            task = asyncio.ensure_future(incoming.feed(take))
            for piece in (b"second", b"third"):
                provider.say(piece)
                await until(lambda piece=piece: seen[-1:] == [piece])  # type: ignore[misc]
            assert not task.done()
            provider.say(b"stop")
            assert await task is False
            provider.say(b"stop")
            assert await incoming.feed(take) is False
            provider.say(b"fourth")
            provider.end()
            assert await incoming.feed(take) is True
            assert b"".join(seen) == b"firstsecondthirdstopstopfourth"
            assert await incoming.feed(take) is True
            assert len(pool._idle) == 1

    on_each(scene())


def test_what_comes_after_the_consumer_stopped_is_kept_and_held_up(run: Run) -> None:
    async def scene() -> None:
        provider = Dictated()
        async with Upstream(provider) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            (connection,) = pool._all
            task = asyncio.ensure_future(incoming.feed(lambda _: False))
            for _ in range(100):
                provider.say(b"x" * 100_000)
            assert await task is False
            await until(lambda: connection._paused)
            provider.end()
            sizes: list[int] = []

            def count(piece: bytes) -> bool:
                sizes.append(len(piece))
                return True

            assert await incoming.feed(count) is True
            assert 9_000_000 < sum(sizes) < 10_000_000  # less what the first had taken

    run(scene())


@pytest.mark.parametrize("at", [b"kept", b"live"], ids=["read", "as it arrives"])
def test_an_error_of_the_consumer_comes_out_where_it_was_handed_over(run: Run, at: bytes) -> None:
    async def scene() -> None:
        provider = Dictated()
        async with Upstream(provider) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            provider.say(b"kept")
            await until(lambda: incoming._size)

            def take(piece: bytes) -> bool:
                if at in piece:
                    raise KeyError(piece)
                return True

            task = asyncio.ensure_future(incoming.feed(take))
            await turns()
            provider.say(b"live")
            with pytest.raises(KeyError):
                await task
            assert pool.open_connections == 1  # whether it is closed is the caller's business
            incoming.close()
            await until(lambda: not pool.open_connections)

    run(scene())


def test_feeding_ends_as_reading_does(run: Run) -> None:
    async def scene() -> None:
        provider = Dictated()
        async with Upstream(provider) as upstream:
            incoming = await upstream.pool().request(post(), PATIENT)
            task = asyncio.ensure_future(incoming.feed(lambda _: True))
            await turns()
            provider.hang_up()
            with pytest.raises(BrokenReplyError):
                await task
            incoming = await upstream.pool().request(post(), Timeouts(20, 0.03, 20))
            with pytest.raises(UpstreamTimeoutError):
                await incoming.feed(lambda _: True)

    run(scene())


def test_feeding_can_be_cancelled(run: Run) -> None:
    async def scene() -> None:
        provider = Dictated()
        async with Upstream(provider) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            (connection,) = pool._all
            seen: list[bytes] = []

            def take(piece: bytes) -> bool:
                seen.append(piece)
                raise KeyError

            task = asyncio.ensure_future(incoming.feed(take))
            await turns()
            task.cancel()
            connection.data_received(b"3\r\nabc\r\n")  # in the same turn
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not pool.open_connections)
            assert await incoming.read() == b""

    run(scene())


def test_a_consumer_may_let_go_of_the_answer_itself(run: Run) -> None:
    async def scene() -> None:
        for let_go in ("close", "discard"):
            provider = Dictated()
            async with Upstream(provider) as upstream:
                pool = upstream.pool()
                incoming = await pool.request(post(), PATIENT)

                def take(_: bytes, incoming: Incoming = incoming, let_go: str = let_go) -> bool:
                    getattr(incoming, let_go)()
                    return False

                task = asyncio.ensure_future(incoming.feed(take))
                await turns()
                provider.say(b"last")
                provider.end()
                assert await task is False
                if let_go == "discard":
                    await until(lambda pool=pool: pool._idle)  # type: ignore[misc]
                else:
                    await until(lambda pool=pool: not pool.open_connections)  # type: ignore[misc]

    run(scene())
