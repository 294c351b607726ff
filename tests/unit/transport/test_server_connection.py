"""One connection to the server: order, patience, limits, and ends of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Awaitable
from pathlib import Path

import msgspec
import pytest

from ai_client.transport.exchange import Exchange, Handler, Request
from ai_client.transport.server import ServerLimits
from ai_client.transport.server_connection import ServerConnection, _peer_uid
from ai_client.transport.timer import NEVER
from tests.running import Run
from tests.wire import Serving, dial, echo, get, later, post, turns, until

SHORT = 0.03  # seconds; what is awaited is that it comes, not when


class Gate:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.cancelled: list[str] = []
        self.open = asyncio.Event()

    async def __call__(self, request: Request, exchange: Exchange) -> None:
        self.entered.append(request.path)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.path)
            raise
        exchange.send(200, (), request.path.encode())


def code(body: bytes) -> str:
    found: str = msgspec.json.decode(body)["error"]["code"]
    return found


def later_echo(delay: int = 3) -> Handler:
    async def handler(request: Request, exchange: Exchange) -> None:
        await turns(delay)
        echo(request, exchange)

    return handler


# ---- keep-alive and order


def test_many_requests_on_one_connection(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            for number in range(50):
                client.send(post(f"/{number}?q={number}", b"b" * number))
                assert (await client.answer()).body == b"POST /%d?q=%d " % (number, number) + b"b" * number
            (connection,) = serving.server.connections
            assert connection.request.body == b""  # what is idle keeps no body in memory

    on_each(scene())


@pytest.mark.parametrize("handler", [echo, later_echo()], ids=["at once", "later"])
def test_pipelined_requests_are_answered_in_order(on_each: Run, handler: Handler) -> None:
    async def scene() -> None:
        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(b"".join(post(f"/{number}", b"x" * number) for number in range(100)))
            for number in range(100):
                assert (await client.answer()).body == b"POST /%d? " % number + b"x" * number
            client.send(get("/last"))
            assert (await client.answer()).body == b"GET /last? "

    on_each(scene())


def test_a_mix_of_at_once_and_later_keeps_the_order(run: Run) -> None:
    async def scene() -> None:
        slow = later_echo()

        def handler(request: Request, exchange: Exchange) -> Awaitable[None] | None:
            if request.path.endswith("3"):
                return slow(request, exchange)
            echo(request, exchange)
            return None

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(b"".join(get(f"/{number}") for number in range(40)))
            for number in range(40):
                assert (await client.answer()).body == b"GET /%d? " % number

    run(scene())


@pytest.mark.parametrize("end", ["answered", "gone"])
def test_bodies_that_wait_for_their_turn_count_as_arriving(on_each: Run, end: str) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            arriving = serving.server.arriving
            client.send(post("/0", b"x" * 10))
            await until(lambda: gate.entered)
            client.send(post("/1", b"x" * 20) + post("/2", b"x" * 30))
            await until(lambda: arriving.size == 50)
            if end == "gone":
                await client.close()
            else:
                gate.open.set()
                await client.answer()
            await until(lambda: arriving.size == 0)

    on_each(scene())


def test_reading_ahead_is_bounded(on_each: Run) -> None:
    """While one request is being answered, what follows stays with the client."""

    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(get("/first"))
            await until(lambda: gate.entered)
            (connection,) = serving.server.connections
            client.send(b"".join(post(f"/{number}", b"x" * 100_000) for number in range(300)))
            transport = connection._transport
            assert transport is not None
            await until(lambda: not transport.is_reading())
            assert sum(len(request.body) for request in connection._waiting or ()) < 2_000_000
            gate.open.set()
            await client.answer()
            for number in range(300):
                assert (await client.answer()).body == b"/%d" % number

    on_each(scene())


def test_a_handler_may_answer_much_later_without_a_task(run: Run) -> None:
    async def scene() -> None:
        kept: list[Exchange] = []
        async with (
            Serving(lambda _request, exchange: kept.append(exchange)) as serving,
            dial(serving.address) as client,
        ):
            client.send(get("/1") + get("/2"))
            await until(lambda: kept)
            kept[0].send(200, (), b"1")
            assert (await client.answer()).body == b"1"
            await until(lambda: len(kept) == 2)
            kept[1].send(200, (), b"2")
            assert (await client.answer()).body == b"2"

    run(scene())


# ---- Expect: 100-continue


def test_the_client_is_told_to_continue(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            for _ in range(2):
                client.send(b"POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
                assert (await client.head()).status == 100
                client.send(b"a")
                await turns()
                client.send(b"bc")
                assert (await client.answer()).body == b"POST /? abc"

    run(scene())


def test_the_client_is_not_told_what_it_did_not_wait_for(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
            assert (await client.head()).status == 200

    run(scene())


def test_a_body_too_large_is_refused_instead_of_continued(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo, ServerLimits(max_body=10)) as serving, dial(serving.address) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
            assert (await client.answer()).status == 413
            assert await client.ended() == b""

    run(scene())


def test_whoever_waits_to_continue_waits_its_turn(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(
                get("/1") + b"POST /2 HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
            )
            await until(lambda: gate.entered)
            await turns()
            gate.open.set()
            assert (await client.answer()).body == b"/1"
            assert (await client.head()).status == 100
            client.send(b"abc")
            assert (await client.answer()).body == b"/2"

    run(scene())


# ---- refusals


def test_a_refusal_says_why_and_closes(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost : test\r\n\r\n")
            answer = await client.answer()
            assert (answer.status, answer.headers["connection"]) == (400, "close")
            assert answer.headers["content-type"] == "application/json"
            assert code(answer.body) == "invalid_request"
            assert await client.ended() == b""
            await client.close()
            await until(lambda: not serving.server.connections)

    on_each(scene())


@pytest.mark.parametrize("handler", [echo, later_echo()], ids=["at once", "later"])
def test_a_refusal_comes_in_its_turn(run: Run, handler: Handler) -> None:
    async def scene() -> None:
        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get("/1") + get("/2") + b"nonsense\r\n\r\n" + get("/3"))
            assert (await client.answer()).body == b"GET /1? "
            assert (await client.answer()).body == b"GET /2? "
            assert (await client.answer()).status == 400
            assert await client.ended() == b""

    run(scene())


def test_what_follows_a_request_to_close_is_not_read(run: Run) -> None:
    async def scene() -> None:
        seen: list[str] = []
        wait = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            seen.append(request.path)
            await wait.wait()
            echo(request, exchange)

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            client.send(get("/1", "Connection: close") + get("/2"))
            await until(lambda: seen)
            client.send(get("/3"))
            await turns()
            wait.set()
            assert (await client.answer()).body == b"GET /1? "
            assert await client.ended() == b""
            assert seen == ["/1"]

    run(scene())


def test_what_follows_an_answer_that_closed_is_not_read(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            client.send(get("/1", "Connection: close") + get("/2"))
            assert (await client.answer()).body == b"GET /1? "
            assert await client.ended() == b""

    on_each(scene())


def test_a_handler_that_closes_ends_what_was_pipelined_behind_it(run: Run) -> None:
    async def scene() -> None:
        seen: list[str] = []

        def handler(request: Request, exchange: Exchange) -> None:
            seen.append(request.path)
            exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            exchange.close_raw()

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(post("/1") + post("/2"))
            assert (await client.answer()).status == 200
            assert await client.ended() == b""
            assert (seen, serving.server.arriving.size) == (["/1"], 0)

    run(scene())


def test_a_client_that_is_still_sending_gets_to_read_the_refusal(on_each: Run) -> None:
    """A close with bytes unread would make the kernel send a reset, which overtakes the answer."""

    async def scene() -> None:
        async with Serving(echo, ServerLimits(max_body=1000)) as serving, dial(serving.address) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000000\r\n\r\n")
            for _ in range(500):
                client.send(b"x" * 100_000)
                await client.writer.drain()
            answer = await client.answer()
            assert (answer.status, code(answer.body)) == (413, "request_too_large")
            assert await client.ended() == b""

    on_each(scene())


def test_a_client_that_is_still_sending_gets_to_read_the_last_answer(on_each: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\nconnection: close\r\n\r\n" + b"a" * 100_000)
            kept.append(exchange)

        kept: list[Exchange] = []
        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get() + post(body=b"x" * 30_000_000)[:10_000_000])
            await until(lambda: kept)
            kept[0].close_raw()
            for _ in range(200):
                client.send(b"x" * 100_000)
                await client.writer.drain()
            assert (await client.answer()).body == b"a" * 100_000
            assert await client.ended() == b""

    on_each(scene())


def test_lingering_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_client.transport.server_connection._LINGER", SHORT)

    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            client.send(b"nonsense\r\n\r\n")
            assert (await client.answer()).status == 400
            await until(lambda: not serving.server.connections)  # although the client has not closed

    run(scene())


# ---- time


@pytest.mark.parametrize(
    ("limits", "sent", "part"),
    [
        (ServerLimits(header_timeout=SHORT), b"GET / HTTP/1.1\r\nHost:", "header"),
        (ServerLimits(body_timeout=SHORT), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", "body"),
        (ServerLimits(header_timeout=SHORT), get("/before") + b"G", "header"),
        (ServerLimits(body_timeout=SHORT), get("/before") + post(body=b"abc")[:-1], "body"),
    ],
)
def test_slow_senders_time_out(on_each: Run, limits: ServerLimits, sent: bytes, part: str) -> None:
    async def scene() -> None:
        async with Serving(echo, limits) as serving, dial(serving.address) as client:
            client.send(sent)
            if b"before" in sent:
                assert (await client.answer()).body == b"GET /before? "
            answer = await client.answer()
            assert (answer.status, code(answer.body)) == (408, "request_timeout")
            assert f"the request's {part} did not arrive in time".encode() in answer.body
            assert await client.ended() == b""

    on_each(scene())


def test_dripping_does_not_buy_time(run: Run) -> None:
    async def scene() -> None:
        limits = ServerLimits(header_timeout=SHORT)
        async with Serving(echo, limits) as serving, dial(serving.address) as client:
            client.send(b"GET / HTTP/1.1\r\n")
            answer = asyncio.ensure_future(client.answer())
            while not answer.done():
                client.send(b"X: 1\r\n")
                await asyncio.sleep(0)
            assert answer.result().status == 408

    run(scene())


def test_a_request_behind_one_being_answered_is_given_its_time_afterwards(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        limits = ServerLimits(header_timeout=SHORT)
        async with Serving(gate, limits) as serving, dial(serving.address) as client:
            client.send(get("/1") + b"GET /2 HT")
            loop = asyncio.get_running_loop()
            passed = loop.create_future()
            loop.call_later(SHORT * 2, passed.set_result, None)
            await passed
            gate.open.set()
            assert (await client.answer()).body == b"/1"
            assert (await client.answer()).status == 408

    run(scene())


@pytest.mark.parametrize("first", [b"", get()], ids=["at the beginning", "between requests"])
def test_an_idle_connection_is_closed_without_a_word(on_each: Run, first: bytes) -> None:
    async def scene() -> None:
        limits = ServerLimits(header_timeout=SHORT, keepalive_timeout=SHORT)
        async with Serving(echo, limits) as serving, dial(serving.address) as client:
            client.send(first)
            if first:
                await client.answer()
            assert await client.ended() == b""
            await until(lambda: not serving.server.connections)

    on_each(scene())


def test_a_handler_may_take_as_long_as_it_likes(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        limits = ServerLimits(header_timeout=SHORT, keepalive_timeout=SHORT, body_timeout=SHORT, write_timeout=SHORT)
        async with Serving(gate, limits) as serving, dial(serving.address) as client:
            client.send(get("/1"))
            loop = asyncio.get_running_loop()
            passed = loop.create_future()
            loop.call_later(SHORT * 3, passed.set_result, None)
            await passed
            gate.open.set()
            assert (await client.answer()).body == b"/1"

    run(scene())


def test_a_client_that_reads_nothing_is_left(on_each: Run) -> None:
    async def scene() -> None:
        ended = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            try:
                while True:
                    exchange.write(b"x" * 1_000_000)
                    await exchange.drain()
            finally:
                ended.set()

        limits = ServerLimits(write_timeout=SHORT)
        async with Serving(later(handler), limits) as serving, dial(serving.address, limit=1000) as client:
            client.send(get())
            await ended.wait()
            await until(lambda: not serving.server.connections)
            assert serving.crashes == []

    on_each(scene())


def test_a_stall_that_is_over_is_forgotten(run: Run) -> None:
    async def scene() -> None:
        stalled, go_on = asyncio.Event(), asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            while not exchange.backed_up:
                exchange.write(b"x" * 1_000_000)
            stalled.set()
            await exchange.drain()
            await go_on.wait()
            exchange.end()

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            client.send(get())
            await stalled.wait()
            (connection,) = serving.server.connections
            assert connection._timer.due < NEVER
            answer = asyncio.ensure_future(client.answer())
            await until(lambda: not connection.write_paused)
            assert connection._timer.due == NEVER  # the handler may take as long as it likes
            go_on.set()
            assert len((await answer).body) >= 1_000_000

    run(scene())


def test_a_whole_answer_that_is_not_read_is_left_too(run: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(200, (), b"x" * 50_000_000)

        limits = ServerLimits(write_timeout=SHORT, keepalive_timeout=SHORT)
        async with Serving(handler, limits) as serving, dial(serving.address, limit=1000) as client:
            client.send(get())
            await until(lambda: serving.server.connections)
            await until(lambda: not serving.server.connections)

    run(scene())


def test_a_client_that_reads_slowly_is_waited_for(run: Run) -> None:
    """As long as some of it leaves between two looks of the timer, the rest is kept."""

    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(200, (), b"x" * 50_000_000)

        limits = ServerLimits(write_timeout=3600.0, keepalive_timeout=3600.0)
        async with Serving(handler, limits) as serving, dial(serving.address, limit=1000) as client:
            client.send(get())
            await client.head()
            (connection,) = serving.server.connections
            transport = connection._transport
            assert transport is not None
            for _ in range(5):
                left = transport.get_write_buffer_size()
                connection._timed_out()
                await client.reader.readexactly(8_000_000)
                await until(lambda left=left: transport.get_write_buffer_size() < left)  # type: ignore[misc]
            assert len(await client.reader.readexactly(10_000_000)) == 10_000_000
            client.send(get())
            assert (await client.head()).status == 200

    run(scene())


# ---- the client's leaving


def test_a_client_that_leaves_cancels_the_handler(on_each: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving:
            async with dial(serving.address) as client:
                client.send(get("/1") + get("/2"))
                await until(lambda: gate.entered)
            await until(lambda: gate.cancelled)
            await until(lambda: not serving.server.connections)
            assert (gate.entered, gate.cancelled) == (["/1"], ["/1"])
            assert serving.crashes == []

    on_each(scene())


def test_a_client_that_leaves_before_the_handler_began(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n")
            await until(lambda: serving.server.in_flight)
            (connection,) = serving.server.connections
            connection.data_received(b"\r\n")
            connection.eof_received()
            await turns()
            assert gate.entered == []
            assert serving.crashes == []

    run(scene())


def test_a_client_that_resets_cancels_the_handler(on_each: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving:
            async with dial(serving.address) as client:
                client.send(get("/1"))
                await until(lambda: gate.entered)
                raw: socket.socket = client.writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.writer.transport.abort()
            await until(lambda: gate.cancelled)

    on_each(scene())


def test_a_client_that_closes_its_side_is_gone(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(get("/1"))
            await until(lambda: gate.entered)
            client.writer.write_eof()
            assert await client.ended() == b""
            assert gate.cancelled == ["/1"]

    run(scene())


def test_what_was_asked_before_the_half_close_and_can_be_answered_at_once_is(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            client.send(b"".join(get(f"/{number}") for number in range(30)))
            client.writer.write_eof()
            for number in range(30):
                assert (await client.answer()).body == b"GET /%d? " % number
            assert await client.ended() == b""

    on_each(scene())


def test_what_was_answered_before_the_client_left_still_leaves(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()

        def handler(request: Request, exchange: Exchange) -> Awaitable[None] | None:
            if request.path == "/gate":
                return gate(request, exchange)
            exchange.send(200, (), b"x" * 20_000_000)
            return None

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get("/large") + get("/gate"))
            await until(lambda: gate.entered)
            client.writer.write_eof()
            assert len((await client.answer()).body) == 20_000_000
            assert gate.cancelled == ["/gate"]

    run(scene())


@pytest.mark.parametrize("sent", [b"GET / HT", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"])
def test_a_truncated_request_is_told_so(on_each: Run, sent: bytes) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as client:
            client.send(sent)
            client.writer.write_eof()
            answer = await client.answer()
            assert answer.status == 400
            assert b"ended in the middle of a request" in answer.body
            assert await client.ended() == b""

    on_each(scene())


def test_a_handler_that_goes_on_after_its_answer_is_not_cancelled(run: Run) -> None:
    async def scene() -> None:
        go_on, done = asyncio.Event(), asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(200, (), b"")
            await go_on.wait()
            done.set()

        async with Serving(later(handler)) as serving:
            async with dial(serving.address) as client:
                client.send(get())
                await client.answer()
            await until(lambda: not serving.server.connections)
            go_on.set()
            await done.wait()

    run(scene())


def test_whoever_waits_to_write_hears_that_the_client_left(run: Run) -> None:
    async def scene() -> None:
        ended: list[bool] = []
        blocked = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            while not exchange.backed_up:
                exchange.write(b"x" * 100_000)

            async def shielded() -> None:
                blocked.set()
                await exchange.drain()
                ended.append(exchange.closed)

            await asyncio.shield(asyncio.ensure_future(shielded()))

        async with Serving(later(handler)) as serving:
            async with dial(serving.address, limit=1000) as client:
                client.send(get())
                await blocked.wait()
                client.writer.transport.abort()
            await until(lambda: ended)
            assert ended == [True]

    run(scene())


# ---- defects


@pytest.mark.parametrize("kind", ["at once", "later"])
def test_a_defect_of_the_handler_is_a_500_and_is_reported(run: Run, kind: str) -> None:
    async def scene() -> None:
        def at_once(request: Request, exchange: Exchange) -> None:
            raise KeyError(request.path)

        async def in_a_while(request: Request, exchange: Exchange) -> None:
            await asyncio.sleep(0)
            raise KeyError(request.path)

        async with (
            Serving(at_once if kind == "at once" else in_a_while) as serving,
            dial(serving.address) as client,
        ):
            client.send(get("/broken"))
            answer = await client.answer()
            assert (answer.status, code(answer.body)) == (500, "internal")
            assert b'"type":"api_error"' in answer.body
            assert answer.headers["connection"] == "close"
            assert [repr(crash) for crash in serving.crashes] == ["KeyError('/broken')"]

    run(scene())


def test_a_defect_in_the_middle_of_an_answer_breaks_it_off(run: Run) -> None:
    async def scene() -> None:
        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            exchange.write(b"half")
            raise KeyError

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            client.send(get())
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1000)
            assert len(serving.crashes) == 1

    run(scene())


def test_a_defect_after_the_answer_harms_nobody(run: Run) -> None:
    async def scene() -> None:
        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(200, (), b"whole")
            raise KeyError

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            for _ in range(2):
                client.send(get())
                assert (await client.answer()).body == b"whole"
            await until(lambda: len(serving.crashes) == 2)

    run(scene())


def test_a_handler_that_forgets_to_answer_is_a_defect(run: Run) -> None:
    async def scene() -> None:
        async def silent(request: Request, exchange: Exchange) -> None:
            if request.path == "/begun":
                exchange.start(200, ())

        async with Serving(later(silent)) as serving:
            async with dial(serving.address) as client:
                client.send(get("/"))
                assert (await client.answer()).status == 500
            async with dial(serving.address) as client:
                client.send(get("/begun"))
                with pytest.raises(ConnectionResetError):
                    await client.reader.readexactly(1000)
            assert [str(crash) for crash in serving.crashes] == [
                "the handler returned without finishing its answer",
            ] * 2

    run(scene())


def test_a_defect_is_survived_without_anybody_to_tell(run: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            raise KeyError

        async with Serving(handler) as serving, dial(serving.address) as client:
            serving.server.on_crash = None
            client.send(get())
            assert (await client.answer()).status == 500

    run(scene())


def test_a_handler_cancelled_from_elsewhere_breaks_its_answer_off(run: Run) -> None:
    async def scene() -> None:
        tasks: list[asyncio.Task[None] | None] = []

        async def handler(request: Request, exchange: Exchange) -> None:
            tasks.append(asyncio.current_task())
            await asyncio.Event().wait()

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            client.send(get())
            await until(lambda: tasks)
            assert tasks[0] is not None
            tasks[0].cancel()
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1000)

    run(scene())


# ---- what is left behind


def test_nothing_of_a_connection_is_left_for_the_collector(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            gc.collect()
            before = sum(isinstance(each, ServerConnection) for each in gc.get_objects())
            gc.disable()
            try:
                async with dial(serving.address) as client:
                    client.send(get() + get())
                    await client.answer()
                await until(lambda: not serving.server.connections)
                await turns()
                after = sum(isinstance(each, ServerConnection) for each in gc.get_objects())
            finally:
                gc.enable()
            assert after == before

    run(scene())


def test_unix_peers_are_known_by_their_uid(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        seen: list[int | None] = []

        def handler(request: Request, exchange: Exchange) -> None:
            seen.append(request.peer_uid)
            exchange.send(200, (), b"")

        async with Serving(handler) as serving:
            await serving.server.listen_unix(tmp_path / "socket")
            async with dial(tmp_path / "socket") as client:
                client.send(get())
                await client.answer()
            async with dial(serving.address) as client:
                client.send(get())
                await client.answer()
            assert seen == [os.getuid(), None]

    run(scene())


def test_a_system_that_does_not_tell_its_peers() -> None:
    with contextlib.closing(socket.socket()) as closed:
        closed.close()
        assert _peer_uid(closed) is None


def test_calls_after_the_end_are_harmless(run: Run) -> None:
    async def scene() -> None:
        held: list[ServerConnection] = []

        def handler(request: Request, exchange: Exchange) -> None:
            held.extend(serving.server.connections)
            echo(request, exchange)

        async with Serving(handler) as serving:
            async with dial(serving.address) as client:
                client.send(get())
                await client.answer()
            await until(lambda: not serving.server.connections)
            (connection,) = held
            connection.write(b"x")
            connection.abort()
            connection.reset()
            connection.drain()
            connection.data_received(b"x")
            connection._timed_out()
            connection._end(linger=True)
            assert not connection.busy
            await connection.drained()

    run(scene())
