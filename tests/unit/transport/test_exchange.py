"""Answers, as a client finds them on the wire."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from ai_client.transport.exchange import Exchange, Request, error_body
from ai_client.transport.server import ServerLimits
from tests.running import Run
from tests.wire import Serving, dial, get, later, post, turns, until

TEXT = ((b"content-type", b"text/plain"),)


@pytest.mark.parametrize("size", [0, 3, 300_000])
def test_a_whole_answer_states_its_length(on_each: Run, size: int) -> None:
    body = b"b" * size

    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(201, TEXT, body)
            assert (exchange.started, exchange.closed) == (True, True)

        async with Serving(handler) as serving, dial(serving.address) as client:
            for _ in range(3):
                client.send(post())
                answer = await client.answer()
                assert answer.status == 201
                assert answer.headers == {"content-length": str(size), "content-type": "text/plain"}
                assert answer.body == body

    on_each(scene())


def test_head_gets_the_head_alone(run: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            if request.path == "/whole":
                exchange.send(200, TEXT, b"a body")
            else:
                exchange.start(200, TEXT)
                exchange.write(b"a body")
                exchange.end()

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get("/whole", method="HEAD"))
            assert (await client.answer("HEAD")).headers["content-length"] == "6"
            client.send(get("/stream", method="HEAD"))
            assert (await client.answer("HEAD")).headers["transfer-encoding"] == "chunked"
            client.send(get("/whole"))
            assert (await client.answer()).body == b"a body"

    run(scene())


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_has_none_and_states_no_length(run: Run, status: int) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            if request.path == "/whole":
                exchange.send(status, (), b"not sent")
            else:
                exchange.start(status, ())
                exchange.write(b"not sent")
                exchange.end()

        async with Serving(handler) as serving, dial(serving.address) as client:
            for path in ("/whole", "/stream", "/whole"):
                client.send(get(path))
                answer = await client.head()
                assert (answer.status, answer.headers) == (status, {})

    run(scene())


@pytest.mark.parametrize("size", [1, 200_000])
def test_a_streamed_answer_is_chunked(on_each: Run, size: int) -> None:
    async def scene() -> None:
        go_on = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, TEXT)
            exchange.write(b"")  # is no chunk: that would be the end
            exchange.write(b"a" * size)
            await go_on.wait()
            exchange.write(b"b" * size)
            exchange.end()

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            client.send(post())
            answer = await client.head()
            assert answer.headers == {"content-type": "text/plain", "transfer-encoding": "chunked"}
            assert await client.chunk() == b"a" * size
            go_on.set()
            assert await client.chunk() == b"b" * size
            assert await client.chunk() == b""
            client.send(post())
            assert (await client.answer()).body == b"a" * size + b"b" * size

    on_each(scene())


@pytest.mark.parametrize(
    ("te", "trailers"), [("TE: trailers", b"x-cost: 1\r\n"), ("TE: deflate", b""), ("X-None: 1", b"")]
)
def test_trailers_reach_whoever_asks_for_them(run: Run, te: str, trailers: bytes) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            exchange.write(b"a")
            exchange.end([(b"x-cost", b"1")])

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get("/", te, "Connection: close"))
            await client.head()
            assert await client.ended() == b"1\r\na\r\n0\r\n" + trailers + b"\r\n"

    run(scene())


def test_http_1_0(run: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            if request.path == "/whole":
                exchange.send(200, (), b"whole")
            else:
                exchange.start(200, ())
                exchange.write(b"in ")
                exchange.write(b"pieces")
                exchange.end()

        async with Serving(handler) as serving:
            async with dial(serving.address) as client:
                client.send(get("/whole", "Connection: keep-alive", version="1.0"))
                answer = await client.answer()
                assert (answer.headers["connection"], answer.body) == ("keep-alive", b"whole")
                client.send(get("/whole", version="1.0"))
                answer = await client.answer()
                assert (answer.headers["connection"], answer.body) == ("close", b"whole")
                assert await client.ended() == b""
            async with dial(serving.address) as client:
                client.send(get("/stream", "Connection: keep-alive", version="1.0"))
                answer = await client.answer()
                assert answer.headers == {"connection": "close"}
                assert answer.body == b"in pieces"

    run(scene())


def test_connection_close_is_obeyed_and_said(run: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            if request.path == "/whole":
                exchange.send(200, (), b"whole")
            else:
                exchange.start(200, ())
                exchange.end()

        async with Serving(handler) as serving:
            for path in ("/whole", "/stream"):
                async with dial(serving.address) as client:
                    client.send(get(path, "Connection: close"))
                    assert (await client.answer()).headers["connection"] == "close"
                    assert await client.ended() == b""

    run(scene())


def test_a_finished_answer_takes_no_more(run: Run) -> None:
    async def scene() -> None:
        kept: list[Exchange] = []

        def handler(request: Request, exchange: Exchange) -> None:
            exchange.send(200, (), b"once")
            kept.append(exchange)

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get())
            assert (await client.answer()).body == b"once"
            (exchange,) = kept
            exchange.send(200, (), b"twice")
            exchange.start(200, ())
            exchange.write(b"more")
            exchange.end()
            exchange.raw(b"more")
            exchange.close_raw()
            exchange.abort()
            await exchange.drain()
            assert not exchange.backed_up
            client.send(get())
            assert (await client.answer()).body == b"once"

    run(scene())


def test_a_slow_reader_holds_the_writer_up(on_each: Run) -> None:
    async def scene() -> None:
        written = 0
        held = asyncio.Event()
        go_on = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            nonlocal written
            exchange.start(200, ())
            while written < 40_000_000:
                exchange.write(b"x" * 50_000)
                written += 50_000
                if exchange.backed_up:
                    held.set()
                    await exchange.drain()
            exchange.end()
            go_on.set()

        async with Serving(later(handler)) as serving, dial(serving.address, limit=1 << 16) as client:
            client.send(get())
            await held.wait()
            before = written
            await turns()
            assert written - before < 5_000_000  # what the sockets' buffers took meanwhile
            assert not go_on.is_set()
            assert len((await client.answer()).body) == written == 40_000_000
            assert go_on.is_set()

    on_each(scene())


def test_a_drain_given_up_does_not_spoil_the_next(run: Run) -> None:
    async def scene() -> None:
        given_up = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            while not exchange.backed_up:
                exchange.write(b"x" * 100_000)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await exchange.drain()
            given_up.set()
            await asyncio.gather(exchange.drain(), exchange.drain())
            exchange.end()

        async with Serving(later(handler)) as serving, dial(serving.address, limit=1 << 16) as client:
            client.send(get())
            await given_up.wait()
            assert (await client.answer()).status == 200
            assert serving.crashes == []

    run(scene())


def test_raw_bytes_go_out_as_they_are(run: Run) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
            exchange.raw(b"short")
            exchange.close_raw()

        async with Serving(handler) as serving, dial(serving.address) as client:
            client.send(get())
            assert await client.ended() == b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort"

    run(scene())


def test_abort_resets_a_tcp_connection(on_each: Run) -> None:
    async def scene() -> None:
        gone: list[str] = []
        after = asyncio.Event()

        async def handler(request: Request, exchange: Exchange) -> None:
            exchange.on_disconnect(lambda: gone.append("first"))
            exchange.on_disconnect(lambda: gone.append("second"))
            exchange.start(200, ())
            exchange.write(b"half")
            exchange.abort()
            exchange.write(b"never")
            exchange.abort()
            await turns()
            after.set()  # whoever aborts is not cancelled for it

        async with Serving(later(handler)) as serving, dial(serving.address) as client:
            client.send(get())
            with pytest.raises(ConnectionResetError):
                await client.reader.readexactly(1000)
            await after.wait()
            assert gone == ["first", "second"]
            assert serving.crashes == []

    on_each(scene())


def test_abort_ends_a_unix_connection(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        def handler(request: Request, exchange: Exchange) -> None:
            exchange.start(200, ())
            exchange.write(b"half")
            exchange.abort()

        path = tmp_path / "socket"
        async with Serving(handler) as serving:
            await serving.server.listen_unix(path)
            async with dial(path) as client:
                client.send(get())
                assert b"0\r\n\r\n" not in await client.ended()

    run(scene())


def test_listeners_hear_that_the_client_left(run: Run) -> None:
    async def scene() -> None:
        heard = asyncio.Event()
        kept: list[Exchange] = []

        def handler(request: Request, exchange: Exchange) -> None:
            kept.append(exchange)
            exchange.on_disconnect(heard.set)

        async with Serving(handler, ServerLimits()) as serving:
            async with dial(serving.address) as client:
                client.send(get())
                await until(lambda: kept)
            await heard.wait()
            assert kept[0].closed

    run(scene())


def test_errors_have_the_shape_of_openai() -> None:
    body = msgspec.json.decode(error_body("what", "the_code", "the_type", "the_param"))
    assert body == {"error": {"message": "what", "type": "the_type", "param": "the_param", "code": "the_code"}}
