"""One connection to a provider, against providers that behave as they please."""

from __future__ import annotations

import asyncio
import gc

import pytest

from ai_client.errors import BrokenReplyError, ConnectError, UpstreamTimeoutError
from ai_client.transport import connection as room
from ai_client.transport.connection import ClientConnection
from ai_client.transport.incoming import Incoming
from ai_client.transport.outbox import Outbox
from ai_client.transport.pool import Pool
from ai_client.transport.timer import NEVER, Timeouts
from tests.running import Run
from tests.wire import PATIENT, RawClient, Talk, Upstream, always, answer_with, get, post, read_request, turns, until

SHORT = 0.03
JSON = answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2", b"{}")
TEXT = "HTTP/1.1 200 OK\nContent-Type: text/event-stream"


def says(*pieces: bytes, then_close: bool = False) -> Talk:
    """Answers the first request with these pieces, one turn of the loop apart."""

    async def talk(client: RawClient) -> None:
        await read_request(client)
        for piece in pieces:
            client.send(piece)
            await turns(3)
        if not then_close:
            await client.reader.read()

    return talk


# ---- answers of every shape


@pytest.mark.parametrize(
    ("content_type", "whole"),
    [
        ("application/json", True),
        ("application/json; charset=utf-8", True),
        ("Application/JSON ;charset=utf-8", True),
        ("application/jsonl", False),
        ("application/json-seq", False),
        ("text/html", False),
    ],
)
def test_json_comes_whole_and_everything_else_in_pieces(on_each: Run, content_type: str, whole: bool) -> None:
    answer = answer_with(f"HTTP/1.1 200 OK\nContent-Type: {content_type}\nContent-Length: 6", b"abcdef")

    async def scene() -> None:
        async with Upstream(says(answer[:-3], answer[-3:])) as upstream:
            incoming = await upstream.pool().request(post(), PATIENT)
            assert incoming.status == 200
            assert incoming.headers[1] == (b"content-length", b"6")
            assert incoming.streamed is not whole
            assert incoming.body == (b"abcdef" if whole else b"")
            assert await incoming.read_all(100) == b"abcdef"
            assert await incoming.read() == b""
            incoming.close()
            incoming.discard()

    on_each(scene())


BODIES = {
    "a length": answer_with(f"{TEXT}\nContent-Length: 6", b"abcdef"),
    "chunks": answer_with(
        f"{TEXT}\nTransfer-Encoding: chunked", b"3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\nX-Trailer: 1\r\n\r\n"
    ),
    "to the end": answer_with(TEXT, b"abcdef"),
    "to the end, as in HTTP/1.0": answer_with(TEXT.replace("1.1", "1.0"), b"abcdef"),
    "to the end, in a coding": answer_with(f"{TEXT}\nTransfer-Encoding: gzip", b"abcdef"),
    "after an early hint": answer_with("HTTP/1.1 103 Early Hints\nLink: </a>") + answer_with(TEXT, b"abcdef"),
    "after two to continue": answer_with("HTTP/1.1 100 Continue") * 2 + answer_with(TEXT, b"abcdef"),
}


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("kind", ["text/event-stream", "application/json"])
def test_bodies_end_as_they_may(on_each: Run, answer: bytes, kind: str) -> None:
    answer = answer.replace(b"text/event-stream", kind.encode())

    async def scene() -> None:
        for pieces in ([answer], [answer[:60], answer[60:]], [answer[:-1], answer[-1:]]):
            async with Upstream(says(*pieces, then_close=True)) as upstream:
                pool = upstream.pool()
                incoming = await pool.request(post(), PATIENT)
                assert await incoming.read_all(100) == b"abcdef"
                assert [name for name, _ in incoming.headers if name in (b"link", b"x-trailer")] == []
                pool.close()

    on_each(scene())


@pytest.mark.parametrize(
    "answer",
    [
        answer_with("HTTP/1.1 200 OK\nContent-Length: 0"),
        answer_with("HTTP/1.1 204 No Content"),
        answer_with("HTTP/1.1 304 Not Modified\nContent-Length: 100"),
        answer_with("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ],
)
def test_an_answer_without_body(run: Run, answer: bytes) -> None:
    async def scene() -> None:
        async with Upstream(always(answer)) as upstream:
            pool = upstream.pool()
            for _ in range(3):
                incoming = await pool.request(post(), PATIENT)
                assert await incoming.read_all(100) == b""
            assert upstream.opened == 1

    run(scene())


@pytest.mark.parametrize("body", [b"", b"x" * 100], ids=["right", "wrong"])
def test_the_answer_to_head_has_no_body_whatever_it_says(run: Run, body: bytes) -> None:
    async def scene() -> None:
        answer = answer_with("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 100", body)
        async with Upstream(says(answer)) as upstream:
            pool = upstream.pool()
            for opened in (1, 2):
                incoming = await pool.request(get(method="HEAD"), PATIENT)
                assert (incoming.streamed, incoming.body) == (False, b"")
                assert incoming.headers[1] == (b"content-length", b"100")
                assert upstream.opened == opened  # too rare to keep a connection for
                await until(lambda: not pool.open_connections)

    run(scene())


# ---- reuse


def test_a_connection_serves_again_and_again(on_each: Run) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool()
            for _ in range(50):
                assert (await pool.request(post(), PATIENT)).body == b"{}"
            assert (upstream.opened, pool.open_connections) == (1, 1)

    on_each(scene())


@pytest.mark.parametrize(
    "answer",
    [
        answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2\nConnection: close", b"{}"),
        answer_with("HTTP/1.0 200 OK\nContent-Type: application/json\nContent-Length: 2", b"{}"),
        JSON + b"x",
        JSON + JSON,
        JSON + b"HTTP/1.1 200",
        answer_with("HTTP/1.1 204 No Content") + b"{}",
        answer_with("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 2", b"{}") + JSON,
    ],
)
def test_a_connection_that_may_not_serve_again_does_not(run: Run, answer: bytes) -> None:
    """Above all not one on which more came than was asked for: the next request would get it."""

    async def scene() -> None:
        async with Upstream(says(answer)) as upstream:
            pool = upstream.pool()
            for opened in (1, 2, 3):
                incoming = await pool.request(post(), PATIENT)
                assert await incoming.read_all(100) == (b"" if b"204" in answer else b"{}")
                assert upstream.opened == opened

    run(scene())


def test_an_answer_nobody_asked_for_closes_the_connection(run: Run) -> None:
    async def scene() -> None:
        speak = asyncio.Event()

        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(JSON)
            await speak.wait()
            client.send(JSON)
            await client.reader.read()

        async with Upstream(talk) as upstream:
            pool = upstream.pool()
            await pool.request(post(), PATIENT)
            speak.set()
            await until(lambda: not pool.open_connections)

    run(scene())


def test_a_stream_not_yet_read_is_not_mixed_with_the_next_answer(run: Run) -> None:
    """The connection may serve again as soon as an answer has arrived, read or not."""

    async def scene() -> None:
        count = 0

        async def talk(client: RawClient) -> None:
            nonlocal count
            while True:
                await read_request(client)
                count += 1
                client.send(answer_with(f"{TEXT}\nContent-Length: 3", b"%03d" % count))

        async with Upstream(talk) as upstream:
            pool = upstream.pool(size=1)
            incoming = [await pool.request(post(), PATIENT) for _ in range(5)]
            assert upstream.opened == 1
            assert [await each.read_all(100) for each in reversed(incoming)] == [b"005", b"004", b"003", b"002", b"001"]

    run(scene())


def test_letting_go_of_an_answer_that_has_ended_does_not_touch_the_next(run: Run) -> None:
    async def scene() -> None:
        hold = asyncio.Event()

        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(answer_with(f"{TEXT}\nContent-Length: 3", b"one"))
            await read_request(client)
            client.send(answer_with(f"{TEXT}\nContent-Length: 6", b"two"))
            await hold.wait()
            client.send(b"two")
            await client.reader.read()

        async with Upstream(talk) as upstream:
            pool = upstream.pool(size=1)
            first = await pool.request(post(), PATIENT)
            second = await pool.request(post(), PATIENT)
            first.close()
            first.discard()
            assert await first.read() == b""
            assert await second.read() == b"two"
            hold.set()
            assert await second.read() == b"two"
            assert await second.read() == b""
            assert upstream.opened == 1

    run(scene())


def test_an_answer_before_the_request_has_left_closes_the_connection(on_each: Run) -> None:
    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await client.reader.readuntil(b"\r\n\r\n")
            client.send(answer_with("HTTP/1.1 413 Too Large\nContent-Type: application/json\nContent-Length: 2", b"{}"))
            await asyncio.Event().wait()

        async with Upstream(talk) as upstream:
            pool = upstream.pool(keepalive_expiry=3600.0)
            incoming = await pool.request(post(body=b"x" * 30_000_000), PATIENT)
            assert incoming.status == 413
            assert pool._idle == []
            await until(lambda: not pool.open_connections)

    on_each(scene())


def test_an_answer_may_begin_before_the_request_has_left(on_each: Run) -> None:
    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await client.reader.readuntil(b"\r\n\r\n")
            client.send(answer_with(f"{TEXT}\nContent-Length: 6", b"abc"))
            await client.reader.readexactly(30_000_000)
            client.send(b"def")
            await client.reader.read()

        async with Upstream(talk) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(body=b"x" * 30_000_000), PATIENT)
            assert await incoming.read_all(100) == b"abcdef"
            assert len(pool._idle) == 1

    on_each(scene())


# ---- broken answers


BROKEN = {
    "nothing": (b"", "closed the connection without an answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", "without an answer"),
    "only to continue": (b"HTTP/1.1 100 Continue\r\n\r\n", "without an answer"),
    "no HTTP": (b"<html>hello</html>", "not HTTP/1.1"),
    "another protocol": (answer_with("HTTP/1.1 101 Switching\nConnection: upgrade\nUpgrade: h2c"), "not HTTP/1.1"),
    "two lengths": (answer_with("HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2", b"ab"), "not HTTP/1.1"),
    "length and chunks": (
        answer_with("HTTP/1.1 200 OK\nContent-Length: 1\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        "not HTTP/1.1",
    ),
    "bare line feeds": (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "not HTTP/1.1"),
    "short of its length": (
        answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 9", b"{}"),
        "short of the 9 bytes promised",
    ),
    "half its chunks": (
        answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nTransfer-Encoding: chunked", b"2\r\n{}\r\n"),
        "in the middle of its answer",
    ),
    "a chunk that is none": (
        answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nTransfer-Encoding: chunked", b"xyz\r\n"),
        "not HTTP/1.1",
    ),
    "a head without end": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 60_000, "a head of more than"),
    "too large": (
        answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2000", b"x" * 2000),
        "more than 1000 bytes",
    ),
}


@pytest.mark.parametrize(("answer", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_answer_says_how(on_each: Run, answer: bytes, reason: str) -> None:
    async def scene() -> None:
        async with Upstream(says(answer, then_close=True)) as upstream:
            pool = upstream.pool(max_body=1000)
            with pytest.raises(BrokenReplyError, match=reason) as caught:
                await pool.request(post(), PATIENT)
            assert str(pool.origin) in str(caught.value)
            assert (caught.value.sent, caught.value.retryable) == (True, True)
            await until(lambda: not pool.open_connections)

    on_each(scene())


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_stream_cut_off_is_not_taken_for_whole(on_each: Run, framing: str) -> None:
    async def scene() -> None:
        piece = b"abc" if "Length" in framing else b"3\r\nabc\r\n"
        async with Upstream(says(answer_with(f"{TEXT}\n{framing}", piece), then_close=True)) as upstream:
            incoming = await upstream.pool().request(post(), PATIENT)
            assert await incoming.read() == b"abc"
            for _ in range(2):
                with pytest.raises(BrokenReplyError, match="in the middle of its answer"):
                    await incoming.read()

    on_each(scene())


def test_a_reset_is_not_taken_for_an_end(on_each: Run) -> None:
    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(answer_with(TEXT, b"abc"))
            await turns()
            sock = client.writer.get_extra_info("socket")
            sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER
            client.writer.transport.abort()

        async with Upstream(talk) as upstream:
            incoming = await upstream.pool().request(post(), PATIENT)
            with pytest.raises(BrokenReplyError, match="broke the connection"):
                await incoming.read_all(100)

    on_each(scene())


def test_a_stream_larger_than_its_reader_bears(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(says(answer_with(f"{TEXT}\nContent-Length: 1000", b"x" * 1000))) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            with pytest.raises(BrokenReplyError, match="larger than 999 bytes"):
                await incoming.read_all(999)
            pool.close()

    run(scene())


# ---- time


def hangs(*pieces: bytes) -> Talk:
    return says(*pieces)


@pytest.mark.parametrize(
    ("pieces", "timeouts", "phase"),
    [
        ([], Timeouts(SHORT, 20, NEVER), "first_byte"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200"], Timeouts(SHORT, 20, NEVER), "first_byte"),
        ([JSON[:-1]], Timeouts(20, SHORT, NEVER), "idle"),
        ([], Timeouts(20, 20, SHORT), "total"),
        ([JSON[:-1]], Timeouts(20, 20, SHORT), "total"),
    ],
)
def test_an_answer_that_does_not_come(on_each: Run, pieces: list[bytes], timeouts: Timeouts, phase: str) -> None:
    async def scene() -> None:
        async with Upstream(hangs(*pieces)) as upstream:
            pool = upstream.pool()
            with pytest.raises(UpstreamTimeoutError, match=r"0\.03 s") as caught:
                await pool.request(post(), timeouts)
            assert (caught.value.phase, caught.value.sent) == (phase, True)
            await until(lambda: not pool.open_connections)
            await until(lambda: not upstream.open)

    on_each(scene())


def test_a_stream_that_falls_silent(on_each: Run) -> None:
    async def scene() -> None:
        async with Upstream(hangs(answer_with(TEXT, b"abc"))) as upstream:
            for timeouts, phase in [(Timeouts(20, SHORT, NEVER), "idle"), (Timeouts(20, 20, SHORT), "total")]:
                incoming = await upstream.pool().request(post(), timeouts)
                assert await incoming.read() == b"abc"
                with pytest.raises(UpstreamTimeoutError) as caught:
                    await incoming.read()
                assert caught.value.phase == phase

    on_each(scene())


def test_pings_are_no_content(on_each: Run) -> None:
    """Neither the head nor what comes after it puts the first content's time off; only its reader does."""

    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(answer_with(TEXT))
            while not client.writer.is_closing():
                client.send(b": ping\n\n")
                await turns(1)

        async with Upstream(talk) as upstream:
            for total in (NEVER, 20):
                pool = upstream.pool()
                incoming = await pool.request(post(), Timeouts(20, 20, total, SHORT))
                with pytest.raises(UpstreamTimeoutError, match=r"sent no content within 0\.03 s") as caught:
                    await incoming.read_all(10**9)
                assert (caught.value.phase, caught.value.sent) == ("first_token", True)
                await until(lambda pool=pool: not pool.open_connections)  # type: ignore[misc]

    on_each(scene())


@pytest.mark.parametrize(
    ("timeouts", "phase"),
    [
        (Timeouts(20, SHORT, NEVER, 10), "idle"),
        (Timeouts(20, 20, 2 * SHORT, SHORT), "total"),
        (Timeouts(20, 20, SHORT, SHORT), "total"),
        (Timeouts(20, 20, SHORT, 10), "total"),
    ],
)
def test_once_there_is_content_the_other_times_count(on_each: Run, timeouts: Timeouts, phase: str) -> None:
    async def scene() -> None:
        async with Upstream(hangs(answer_with(TEXT, b"abc"))) as upstream:
            incoming = await upstream.pool().request(post(), timeouts)
            assert await incoming.read() == b"abc"
            for _ in range(2):  # a second time says nothing new
                incoming.begun()
            with pytest.raises(UpstreamTimeoutError) as caught:
                await incoming.read()
            assert caught.value.phase == phase
            incoming.begun()  # nor does one that comes too late

    on_each(scene())


def test_what_came_before_the_silence_is_not_lost(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(hangs(answer_with(TEXT, b"abc"))) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), Timeouts(20, SHORT, NEVER))
            await until(lambda: not pool.open_connections)
            assert await incoming.read() == b"abc"
            with pytest.raises(UpstreamTimeoutError):
                await incoming.read()

    run(scene())


def test_a_large_request_has_its_time_to_leave(on_each: Run) -> None:
    """As long as the provider takes some of it between two looks of the timer. Then it has the whole patience again."""

    async def scene() -> None:
        take = asyncio.Semaphore(0)

        async def talk(client: RawClient) -> None:
            await client.reader.readuntil(b"\r\n\r\n")
            left = 40_000_000
            while left:
                await take.acquire()
                left -= len(await client.reader.readexactly(8_000_000))
            client.send(JSON)
            await client.reader.read()

        async with Upstream(talk) as upstream:
            pool = upstream.pool()
            task = asyncio.ensure_future(pool.request(post(body=b"x" * 40_000_000), Timeouts(1000.0, 1000.0, 3600.0)))
            await until(lambda: pool.open_connections)
            (connection,) = pool._all
            transport = connection._transport
            assert transport is not None
            await until(transport.get_write_buffer_size)
            now = asyncio.get_running_loop().time()
            for _ in range(2):
                left = transport.get_write_buffer_size()
                assert left > 0
                connection._timer.set(NEVER)
                connection._timed_out()
                assert connection._timer.due >= now + 1000.0
                take.release()
                await until(lambda left=left: transport.get_write_buffer_size() < left)  # type: ignore[misc]
            connection._timer.set(NEVER)
            for _ in range(3):
                take.release()
            assert (await task).body == b"{}"

    on_each(scene())


def test_a_provider_that_does_not_take_the_request(on_each: Run) -> None:
    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await asyncio.Event().wait()

        async with Upstream(talk) as upstream:
            with pytest.raises(UpstreamTimeoutError) as caught:
                await upstream.pool().request(post(body=b"x" * 30_000_000), Timeouts(SHORT, 20, 20))
            assert caught.value.phase == "first_byte"

    on_each(scene())


# ---- backpressure


def flood(size: int, sent: list[int]) -> Talk:
    async def talk(client: RawClient) -> None:
        await read_request(client)
        client.send(answer_with(f"{TEXT}\nContent-Length: {size}"))
        for _ in range(size // 50_000):
            client.send(b"x" * 50_000)
            sent[0] += 50_000
            await client.writer.drain()
        await client.reader.read()

    return talk


def test_a_slow_reader_holds_the_provider_up(on_each: Run) -> None:
    async def scene() -> None:
        sent = [0]
        async with Upstream(flood(40_000_000, sent)) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            (connection,) = pool._all
            await until(lambda: connection._paused)
            before = sent[0]
            await turns(200)
            assert sent[0] - before < 12_000_000  # what the sockets' buffers take
            assert sent[0] < 30_000_000
            assert incoming._size < 1_000_000
            assert len(await incoming.read_all(40_000_000)) == 40_000_000
            incoming = await pool.request(post(), PATIENT) if upstream.opened > 1 else incoming
            assert pool.open_connections == 1

    on_each(scene())


def test_silence_of_our_own_making_is_nobodys_fault(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(flood(40_000_000, [0])) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), Timeouts(20, SHORT, NEVER))
            (connection,) = pool._all
            await until(lambda: connection._paused)
            loop = asyncio.get_running_loop()
            passed = loop.create_future()
            loop.call_later(SHORT * 3, passed.set_result, None)
            await passed
            assert len(await incoming.read_all(40_000_000)) == 40_000_000

    run(scene())


def test_silence_after_we_read_on_is_the_providers(run: Run) -> None:
    """The timer had moved to the far end of the answer while we did not read: it must come back."""

    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(answer_with(TEXT, b"x" * 2_000_000))
            await client.reader.read()

        async with Upstream(talk) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), Timeouts(SHORT, SHORT, 3600))
            (connection,) = pool._all
            await until(lambda: connection._paused)
            await until(lambda: connection._timer.due > asyncio.get_running_loop().time() + 1000)
            with pytest.raises(UpstreamTimeoutError) as caught:
                await incoming.read_all(40_000_000)
            assert caught.value.phase == "idle"

    run(scene())


def test_an_answer_complete_before_it_is_read_leaves_a_connection_that_listens(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_HIGH_WATER", 10)

    async def scene() -> None:
        close = asyncio.Event()

        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(answer_with(f"{TEXT}\nContent-Length: 1000", b"x" * 1000))
            await close.wait()

        async with Upstream(talk) as upstream:
            pool = upstream.pool(keepalive_expiry=3600.0)
            incoming = await pool.request(post(), PATIENT)
            close.set()
            await until(lambda: not pool.open_connections)
            assert len(await incoming.read_all(1000)) == 1000

    run(scene())


# ---- giving up


def test_a_cancelled_request_is_closed_at_the_provider(on_each: Run) -> None:
    async def scene() -> None:
        for pieces in ([], [JSON[:-1]]):
            async with Upstream(hangs(*pieces)) as upstream:
                pool = upstream.pool()
                task = asyncio.ensure_future(pool.request(post(), PATIENT))
                await until(lambda upstream=upstream: upstream.open)  # type: ignore[misc]
                await turns()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await until(lambda upstream=upstream: not upstream.open)  # type: ignore[misc]
                assert pool.open_connections == 0

    on_each(scene())


def test_a_cancelled_read_is_closed_at_the_provider(on_each: Run) -> None:
    async def scene() -> None:
        async with Upstream(hangs(answer_with(TEXT, b"abc"))) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            await incoming.read()
            task = asyncio.ensure_future(incoming.read())
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not upstream.open)
            assert await incoming.read() == b""

    on_each(scene())


def test_closing_wakes_whoever_reads(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(hangs(answer_with(TEXT, b"abc"))) as upstream:
            incoming = await upstream.pool().request(post(), PATIENT)
            await incoming.read()
            task = asyncio.ensure_future(incoming.read())
            await turns()
            incoming.close()
            assert await task == b""
            await until(lambda: not upstream.open)

    run(scene())


async def sent(pool: Pool) -> tuple[asyncio.Task[Incoming], ClientConnection]:
    """A request that has been sent, and its connection."""
    task = asyncio.ensure_future(pool.request(post(), PATIENT))
    await until(lambda: pool.open_connections)
    (connection,) = pool._all
    await until(lambda: connection._head is not None and not connection._held)
    return task, connection


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_an_answer_that_comes_with_the_cancellation_does_not_harm_who_is_next(run: Run, kind: str) -> None:
    """The connection is already somebody else's when the cancelled request wakes up."""

    async def scene() -> None:
        answer = answer_with(f"HTTP/1.1 200 OK\nContent-Type: {kind}\nContent-Length: 2", b"{}")
        requests = 0

        async def talk(client: RawClient) -> None:
            nonlocal requests
            while True:
                await read_request(client)
                requests += 1
                if requests > 1:
                    client.send(answer)

        async with Upstream(talk) as upstream:
            pool = upstream.pool(size=1)
            first, connection = await sent(pool)
            second = asyncio.ensure_future(pool.request(post(), PATIENT))
            await until(lambda: pool.waiting)
            connection.data_received(answer)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await (await second).read_all(10) == b"{}"
            assert (pool.open_connections, upstream.opened, requests) == (1, 1, 2)

    run(scene())


@pytest.mark.parametrize("answer", [b"<html>", answer_with(TEXT, b"abc")])
def test_an_unwanted_stream_is_closed(run: Run, answer: bytes) -> None:
    """Its request was cancelled in the same turn in which its head arrived, or its failure."""

    async def scene() -> None:
        async with Upstream(hangs()) as upstream:
            pool = upstream.pool()
            task, connection = await sent(pool)
            connection.data_received(answer)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: not upstream.open)
            assert pool.open_connections == 0

    run(scene())


@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_head_that_comes_to_nobody(run: Run, kind: str) -> None:
    """The wait is over, but the task that gave it up has not run yet."""

    async def scene() -> None:
        answer = answer_with(f"HTTP/1.1 200 OK\nContent-Type: {kind}\nContent-Length: 2", b"{}")
        async with Upstream(hangs()) as upstream:
            pool = upstream.pool()
            task, connection = await sent(pool)
            task.cancel()
            connection.data_received(answer)
            assert pool.open_connections == 1
            with pytest.raises(asyncio.CancelledError):
                await task
            await turns()
            assert pool.open_connections == (1 if kind == "application/json" else 0)
            pool.close()

    run(scene())


# ---- discarding


def test_the_rest_of_a_stream_is_thrown_away_and_the_connection_kept(on_each: Run) -> None:
    async def scene() -> None:
        go_on = asyncio.Event()

        async def talk(client: RawClient) -> None:
            await read_request(client)
            client.send(answer_with(f"{TEXT}\nTransfer-Encoding: chunked", b"3\r\nabc\r\n"))
            await go_on.wait()
            client.send(b"3\r\ndef\r\n0\r\n\r\n")
            await read_request(client)
            client.send(JSON)
            await client.reader.read()

        async with Upstream(talk) as upstream:
            pool = upstream.pool(size=1)
            incoming = await pool.request(post(), PATIENT)
            assert await incoming.read() == b"abc"
            incoming.discard()
            assert await incoming.read() == b""
            go_on.set()
            assert (await pool.request(post(), PATIENT)).body == b"{}"
            assert upstream.opened == 1

    on_each(scene())


def test_a_stream_discarded_while_held_up_flows_again(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(flood(5_000_000, [0])) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            (connection,) = pool._all
            await until(lambda: connection._paused)
            incoming.discard()
            await until(lambda: pool._idle)

    run(scene())


def test_a_provider_that_does_not_end_a_discarded_stream_is_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_DISCARD_TIME", SHORT)

    async def scene() -> None:
        async with Upstream(hangs(answer_with(TEXT, b"abc"))) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            await incoming.read()
            incoming.discard()
            await until(lambda: not upstream.open)
            assert pool.open_connections == 0

    run(scene())


def test_a_discarded_stream_that_ends_with_its_connection(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(says(answer_with(TEXT, b"abc"), b"def", then_close=True)) as upstream:
            pool = upstream.pool()
            incoming = await pool.request(post(), PATIENT)
            await incoming.read()
            incoming.discard()
            await until(lambda: not pool.open_connections)

    run(scene())


# ---- alone


def test_nothing_is_sent_on_a_connection_that_is_gone(run: Run) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        connection = ClientConnection(loop, "nowhere", 10, Outbox(loop), lambda _: None, lambda _: None)
        assert not connection.usable
        with pytest.raises(ConnectError, match="before anything was sent"):
            connection.send(post(), PATIENT)
        connection.abort()
        connection.read_on()
        connection._timed_out()

    run(scene())


def test_nothing_of_a_connection_is_left_for_the_collector(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool()
            gc.collect()
            before = sum(isinstance(each, ClientConnection) for each in gc.get_objects())
            gc.disable()
            try:
                await pool.request(post(), PATIENT)
                pool.close()
                await until(lambda: not upstream.open)
                await turns()
                after = sum(isinstance(each, ClientConnection) for each in gc.get_objects())
            finally:
                gc.enable()
            assert after == before

    run(scene())
