"""The pool: what it keeps, for how long, for whom, and what it says when it cannot."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from pathlib import Path

import pytest

from ai_client.errors import BrokenReplyError, ConnectError, OverloadedError, UpstreamTimeoutError
from ai_client.transport import pool as room
from ai_client.transport.incoming import Incoming
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.tls import client_context
from tests.running import Run
from tests.wire import (
    CERTIFICATES,
    PATIENT,
    RawClient,
    Serving,
    Upstream,
    always,
    answer_with,
    echo,
    post,
    read_request,
    server_tls,
    turns,
    until,
)

SHORT = 0.03
JSON = answer_with("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: 2", b"{}")


# ---- origins


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("http://host", Origin(False, "host", 80, ""), "host"),
        ("https://Host/v1/", Origin(True, "host", 443, "/v1"), "host"),
        ("https://host:443/a/b", Origin(True, "host", 443, "/a/b"), "host"),
        ("http://host:443", Origin(False, "host", 443, ""), "host:443"),
        ("http://[::1]:8080/v1", Origin(False, "::1", 8080, "/v1"), "[::1]:8080"),
    ],
)
def test_where_a_url_points(url: str, origin: Origin, authority: str) -> None:
    assert Origin.parse(url) == origin
    assert origin.authority == authority
    assert str(origin) == f"{'https' if origin.secure else 'http'}://{authority}"


@pytest.mark.parametrize(
    "url",
    [
        "host",
        "host:80",
        "ftp://host",
        "http://",
        "http://:80",
        "http://host:port",
        "http://host:0",
        "http://host:99999",
        "http://host?a=b",
        "http://host/v1#x",
        "http://me:SECRET@host",
        "http://me:SECRET/x@host",
        "http://[host",
    ],
)
def test_what_is_no_origin(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        Origin.parse(url)
    assert "SECRET" not in str(caught.value)


# ---- ways to connect


def test_tls_with_a_private_authority(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            _, port = await serving.server.listen_tcp("127.0.0.1", 0, server_tls())
            trusting = PoolSettings(tls=client_context(ca_bundle=CERTIFICATES / "ca.pem"))
            for host in ("localhost", "127.0.0.1"):
                pool = Pool(Origin.parse(f"https://{host}:{port}"), trusting)
                for _ in range(2):
                    assert await (await pool.request(post(), PATIENT)).read_all(100) == b"POST /? {}"
                pool.close()
                await until(lambda pool=pool: not pool.open_connections)  # type: ignore[misc]

    on_each(scene())


def test_tls_that_is_not_to_be_trusted(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            _, port = await serving.server.listen_tcp("127.0.0.1", 0, server_tls())
            # without a context https is https all the same, by the system's certificates
            for settings in (PoolSettings(), PoolSettings(tls=client_context())):
                pool = Pool(Origin.parse(f"https://localhost:{port}"), settings)
                with pytest.raises(ConnectError, match=r"does not verify.*set cert_path") as caught:
                    await pool.request(post(), PATIENT)
                assert caught.value.sent is False
                assert (pool.open_connections, pool._opening) == (0, 0)
            pool = Pool(Origin.parse(f"https://localhost:{port}"), PoolSettings(tls=client_context(verify=False)))
            assert (await pool.request(post(), PATIENT)).status == 200
            pool.close()
            pool = Pool(Origin.parse(serving.url.replace("http:", "https:")), PoolSettings())
            with pytest.raises(ConnectError, match=r"no (TLS|connection)"):
                await pool.request(post(), PATIENT)

    on_each(scene())


def test_a_unix_socket(on_each: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "socket"
        # where it is a file that is dialled, the scheme means nothing
        pool = Pool(Origin.parse("https://localhost"), PoolSettings(unix_path=str(path)))
        with pytest.raises(ConnectError, match="no connection to https://localhost: No such file"):
            await pool.request(post(), PATIENT)
        async with Serving(echo) as serving:
            await serving.server.listen_unix(path)
            assert (await pool.request(post(), PATIENT)).status == 200

    on_each(scene())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://nowhere.invalid", f"http://{'a' * 70}.example", "http://\u0130.example"]
)
def test_nobody_is_there(on_each: Run, url: str) -> None:
    async def scene() -> None:
        pool = Pool(Origin.parse(url), PoolSettings())
        with pytest.raises(ConnectError, match="no connection to") as caught:
            await pool.request(post(), PATIENT)
        assert (caught.value.sent, caught.value.retryable) == (False, True)
        assert (pool.open_connections, pool._opening) == (0, 0)

    on_each(scene())


def test_whoever_hangs_up_at_once(on_each: Run) -> None:
    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            client.writer.transport.abort()

        async with Upstream(talk) as upstream:
            pool = upstream.pool(size=1)
            for _ in range(5):
                with pytest.raises((ConnectError, BrokenReplyError)):
                    await pool.request(post(), PATIENT)
                await until(lambda: not pool.open_connections)
                assert pool._opening == 0

    on_each(scene())


def test_it_is_busy_while_a_further_request_would_wait(on_each: Run) -> None:
    async def scene() -> None:
        let_go = asyncio.Event()

        async def talk(client: RawClient) -> None:
            await read_request(client)
            await let_go.wait()
            client.send(JSON)

        async with Upstream(talk) as upstream:
            pool = upstream.pool(size=1)
            seen = [pool.busy]
            first = asyncio.create_task(pool.request(post(), PATIENT))
            await until(lambda: pool.open_connections)
            seen.append(pool.busy)
            let_go.set()
            assert (await first).body == b"{}"
            assert [*seen, pool.busy] == [False, True, False]

    on_each(scene())


def test_a_connection_lost_before_it_could_be_used(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool(size=1)
            connect = pool._connect

            async def connect_and_lose(*arguments: object) -> None:
                await connect(*arguments)  # type: ignore[arg-type]
                arguments[1].abort()  # type: ignore[attr-defined]
                await turns()

            with monkeypatch.context() as patch:
                patch.setattr(pool, "_connect", connect_and_lose)
                with pytest.raises(ConnectError, match="as soon as it was made"):
                    await pool.request(post(), PATIENT)
            assert (await pool.request(post(), PATIENT)).body == b"{}"

    run(scene())


def test_connecting_takes_too_long(on_each: Run) -> None:
    async def scene() -> None:
        with socket.socket() as deaf:  # its backlog is full: the kernel lets nobody in
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(deaf.getsockname())
            settings = PoolSettings(connect_timeout=SHORT)
            pool = Pool(Origin(False, "127.0.0.1", deaf.getsockname()[1], ""), settings)
            with pytest.raises(UpstreamTimeoutError, match=r"within 0\.03 s") as caught:
                await pool.request(post(), PATIENT)
            assert (caught.value.phase, caught.value.sent) == ("connect", False)
            assert (pool.open_connections, pool._opening) == (0, 0)
            for filler in fillers:
                filler.close()

    on_each(scene())


def test_a_time_out_of_the_kernels_is_not_ours() -> None:
    pool = Pool(Origin.parse("http://host"), PoolSettings())
    assert isinstance(pool._not_connected(TimeoutError()), UpstreamTimeoutError)
    error = pool._not_connected(TimeoutError(110, "Connection timed out"))
    assert isinstance(error, ConnectError)
    assert error.message == "no connection to http://host: Connection timed out"


def test_a_request_that_never_began_has_cost_nothing(run: Run) -> None:
    """Cancelled before its first step, which nobody hears of."""

    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool(size=1)
            await pool.request(post(), PATIENT)
            task = asyncio.ensure_future(pool.request(post(), PATIENT))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(pool._idle) == 1
            assert (await pool.request(post(), PATIENT)).body == b"{}"

    run(scene())


# ---- keeping


def test_a_connection_is_kept_for_so_long_and_closed_then(on_each: Run) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool(keepalive_expiry=SHORT)
            await asyncio.gather(*(pool.request(post(), PATIENT) for _ in range(5)))
            assert pool.open_connections == upstream.opened == 5
            await until(lambda: not pool.open_connections)
            await until(lambda: not upstream.open)
            await pool.request(post(), PATIENT)
            await until(lambda: not pool.open_connections)

    on_each(scene())


def test_what_rests_shorter_is_kept_longer(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool(keepalive_expiry=100.0)
            await asyncio.gather(*(pool.request(post(), PATIENT) for _ in range(3)))
            assert len(pool._idle) == 3
            pool._idle[0].idle_since -= 100.0
            pool._idle[1].idle_since -= 50.0
            pool._expire()
            await until(lambda: pool.open_connections == 2)
            assert pool._expiry is not None
            assert pool._expiry.due == pool._idle[0].idle_since + 100.0
            for connection in pool._idle:  # as if the timer had not come round yet
                connection.idle_since -= 100.0
            await pool.request(post(), PATIENT)
            assert upstream.opened == 4
            pool.close()

    run(scene())


def test_the_last_used_is_used_first(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool()
            await asyncio.gather(*(pool.request(post(), PATIENT) for _ in range(3)))
            for _ in range(10):
                await pool.request(post(), PATIENT)
            assert sorted(connection.used for connection in pool._all) == [1, 1, 11]

    run(scene())


class BlockingProvider:
    """Answers one request in a thread and hangs up when it is told to, while the loop under test stands still."""

    def __init__(self, *, reset: bool) -> None:
        self._reset = reset
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._hang_up = threading.Event()
        self._hung_up = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for last in (False, True):
            peer, _ = self._listener.accept()
            while b"{}" not in peer.recv(1000):
                pass
            peer.sendall(JSON)
            if not last:
                self._hang_up.wait()
                if self._reset:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
            self._hung_up.set()

    def hang_up(self) -> None:
        """Blocks until it is done: the loop hears nothing of it before its next turn."""
        self._hang_up.set()
        self._hung_up.wait()

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_kept_connection_that_proves_dead_is_replaced_unseen(on_each: Run, reset: bool) -> None:
    async def scene() -> None:
        provider = BlockingProvider(reset=reset)
        pool = Pool(Origin(False, "127.0.0.1", provider.port, ""), PoolSettings(size=1))
        assert (await pool.request(post(), PATIENT)).body == b"{}"
        (connection,) = pool._all
        connection.idle_since -= 1.0
        provider.hang_up()
        assert connection.usable
        assert (await pool.request(post(), PATIENT)).body == b"{}"
        await until(lambda: not pool.open_connections)
        provider.close()

    on_each(scene())


def test_a_write_that_fails_at_once_has_sent_nothing(on_each: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the kernel was not asked before."""
    monkeypatch.setattr(room, "_TRUSTED_REST", 3600.0)

    async def scene() -> None:
        provider = BlockingProvider(reset=True)
        pool = Pool(Origin(False, "127.0.0.1", provider.port, ""), PoolSettings(size=1))
        assert (await pool.request(post(), PATIENT)).body == b"{}"
        provider.hang_up()
        assert (await pool.request(post(), PATIENT)).body == b"{}"
        provider.close()

    on_each(scene())


def test_a_fresh_connection_that_fails_is_not_tried_for_ever(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool()
            opened = pool._open

            async def open_and_lose() -> object:
                connection = await opened()
                connection.abort()
                return connection

            monkeypatch.setattr(pool, "_open", open_and_lose)
            with pytest.raises(ConnectError, match="before anything was sent"):
                await pool.request(post(), PATIENT)
            assert upstream.opened == 1

    run(scene())


# ---- waiting


class Turnstile:
    """A provider that lets answers out one by one, and remembers in which order it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.let = asyncio.Semaphore(0)

    async def __call__(self, client: RawClient) -> None:
        while True:
            first, _ = await read_request(client)
            self.asked.append(first.split(" ")[1])
            await self.let.acquire()
            client.send(JSON)


async def queue(pool: Pool, count: int) -> list[asyncio.Task[Incoming]]:
    tasks = []
    for number in range(count):
        tasks.append(asyncio.ensure_future(pool.request(post(f"/{number}"), PATIENT)))
        await turns(2)
    return tasks


@pytest.mark.parametrize("size", [1, 3])
def test_first_come_first_served(on_each: Run, size: int) -> None:
    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=size)
            tasks = await queue(pool, 12)
            await until(lambda: len(turnstile.asked) == size)
            assert pool.waiting == 12 - size
            for served in range(size, 12):
                turnstile.let.release()
                await until(lambda served=served: len(turnstile.asked) == served + 1)  # type: ignore[misc]
            for _ in range(size):
                turnstile.let.release()
            await asyncio.gather(*tasks)
            assert sorted(turnstile.asked[:size]) == [f"/{number}" for number in range(size)]
            assert turnstile.asked[size:] == [f"/{number}" for number in range(size, 12)]
            assert (upstream.opened, pool.waiting, pool._opening) == (size, 0, 0)

    on_each(scene())


def test_whoever_gives_up_waiting_leaves_the_order_as_it_is(run: Run) -> None:
    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=1)
            tasks = await queue(pool, 6)
            for given_up in (1, 3, 5):
                tasks[given_up].cancel()
            await turns()
            assert pool.waiting == 2
            for _ in range(3):
                turnstile.let.release()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert turnstile.asked == ["/0", "/2", "/4"]

    run(scene())


@pytest.mark.parametrize("freed", ["connection", "place"])
def test_whoever_has_just_given_up_is_passed_over(run: Run, freed: str) -> None:
    """It was cancelled, but has not run since and still stands in the queue."""

    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=1)
            tasks = await queue(pool, 3)
            await until(lambda: turnstile.asked)
            (connection,) = pool._all
            tasks[1].cancel()
            assert pool.waiting == 2
            if freed == "connection":
                connection.data_received(JSON)
            else:
                pool._gone(connection)
                connection.abort()
            assert pool.waiting == 0
            turnstile.let.release()
            turnstile.let.release()
            assert (await tasks[2]).body == b"{}"
            await asyncio.gather(*tasks, return_exceptions=True)
            assert turnstile.asked == ["/0", "/2"]

    run(scene())


@pytest.mark.parametrize("dies", [False, True], ids=["alive", "dead"])
@pytest.mark.parametrize("freed", ["connection", "place"])
def test_what_was_given_to_somebody_who_gave_up_is_passed_on(run: Run, freed: str, dies: bool) -> None:
    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=1)
            tasks = await queue(pool, 3)
            await until(lambda: turnstile.asked)
            (connection,) = pool._all
            if freed == "connection":
                connection.data_received(JSON)  # the second is given the connection, and is cancelled before it wakes
                if dies:
                    connection.abort()
            else:
                pool._gone(connection)
                connection.abort()
            assert pool.waiting == 1
            tasks[1].cancel()
            turnstile.let.release()
            turnstile.let.release()
            assert (await tasks[2]).body == b"{}"
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(results[1], asyncio.CancelledError)
            assert turnstile.asked == ["/0", "/2"]
            assert (pool.waiting, pool._opening) == (0, 0)

    run(scene())


def test_a_connection_that_dies_on_its_way_to_somebody(run: Run) -> None:
    """Who was given it keeps its turn."""

    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=1)
            tasks = await queue(pool, 4)
            await until(lambda: turnstile.asked)
            (connection,) = pool._all
            connection.data_received(JSON)
            connection.abort()
            for _ in range(4):
                turnstile.let.release()
            assert [incoming.body for incoming in await asyncio.gather(*tasks)] == [b"{}"] * 4
            assert turnstile.asked == ["/0", "/1", "/2", "/3"]
            assert (upstream.opened, pool.waiting, pool._opening) == (2, 0, 0)

    run(scene())


def test_nobody_waits_for_ever(on_each: Run) -> None:
    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=2, connect_timeout=SHORT)
            tasks = await queue(pool, 5)
            results = await asyncio.gather(*tasks[2:], return_exceptions=True)
            for error in results:
                assert isinstance(error, OverloadedError)
                assert "all 2 connections" in error.message
                assert "raise connection_pool_size" in error.message
                assert error.retry_after == 1.0
            assert pool.waiting == 0
            for _ in range(2):
                turnstile.let.release()
            await asyncio.gather(*tasks[:2])

    on_each(scene())


def test_a_failure_to_open_lets_the_next_try(run: Run) -> None:
    async def scene() -> None:
        pool = Pool(Origin.parse("http://127.0.0.1:1"), PoolSettings(size=1))
        tasks = [asyncio.ensure_future(pool.request(post(), PATIENT)) for _ in range(5)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ConnectError] * 5
        assert (pool.waiting, pool._opening) == (0, 0)

    run(scene())


# ---- the end


def test_close_refuses_whoever_waits_and_whoever_comes(on_each: Run) -> None:
    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=1)
            tasks = await queue(pool, 3)
            await until(lambda: turnstile.asked)
            tasks[2].cancel()
            pool.close()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [BrokenReplyError, ConnectError, asyncio.CancelledError]
            with pytest.raises(ConnectError, match="were closed"):
                await pool.request(post(), PATIENT)
            await until(lambda: not pool.open_connections)
            pool.close()

    on_each(scene())


def test_a_connection_that_opens_into_a_closed_pool(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool()
            task = asyncio.ensure_future(pool.request(post(), PATIENT))
            await until(lambda: pool._opening)
            pool.close()
            with pytest.raises(ConnectError, match="were closed"):
                await task
            await until(lambda: upstream.opened and not upstream.open)
            assert pool.open_connections == 0

    run(scene())


def test_a_retired_pool_serves_who_still_comes_and_keeps_nothing(on_each: Run) -> None:
    async def scene() -> None:
        turnstile = Turnstile()
        async with Upstream(turnstile) as upstream:
            pool = upstream.pool(size=2)
            turnstile.let.release()
            await pool.request(post(), PATIENT)
            tasks = await queue(pool, 4)
            await until(lambda: len(turnstile.asked) == 3)
            pool.retire()
            assert pool.open_connections == 2
            for _ in range(4):
                turnstile.let.release()
            assert [incoming.body for incoming in await asyncio.gather(*tasks)] == [b"{}"] * 4
            await until(lambda: not upstream.open)
            assert pool.open_connections == 0
            turnstile.let.release()
            assert (await pool.request(post(), PATIENT)).body == b"{}"
            await until(lambda: not upstream.open)

    on_each(scene())


def test_retiring_closes_what_is_idle(run: Run) -> None:
    async def scene() -> None:
        async with Upstream(always(JSON)) as upstream:
            pool = upstream.pool()
            await asyncio.gather(*(pool.request(post(), PATIENT) for _ in range(3)))
            pool.retire()
            await until(lambda: not upstream.open)
            assert pool.open_connections == 0

    run(scene())
