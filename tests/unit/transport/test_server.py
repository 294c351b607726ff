"""Listeners of every kind, admission, and the graceful end."""

from __future__ import annotations

import asyncio
import errno
import socket
import stat
from pathlib import Path

import msgspec
import pytest

from ai_client.transport import server_connection
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server, ServerLimits
from ai_client.transport.tls import client_context
from tests.running import Run
from tests.wire import CERTIFICATES, Serving, dial, echo, get, post, server_tls, turns, until

SHORT = 0.03


class Gate:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.entered = 0
        self.cancelled = 0
        self.open = asyncio.Event()

    async def __call__(self, request: Request, exchange: Exchange) -> None:
        self.entered += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        exchange.send(200, (), b"done")


# ---- listening


def test_tcp_on_a_free_port_and_on_a_taken_one(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            host, port = serving.address
            assert host == "127.0.0.1"
            assert port > 0
            with pytest.raises(OSError, match=r".") as caught:
                await Server(echo).listen_tcp(host, port)
            assert caught.value.errno == errno.EADDRINUSE

    on_each(scene())


def test_ipv6(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            try:
                host, port = await serving.server.listen_tcp("::1", 0)
            except OSError:
                pytest.skip("this machine has no IPv6 on its loopback")
            async with dial((host, port)) as client:
                client.send(get("/six"))
                assert (await client.answer()).body == b"GET /six? "

    run(scene())


def test_tls(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            address = await serving.server.listen_tcp("127.0.0.1", 0, server_tls())
            trusting = client_context(ca_bundle=CERTIFICATES / "ca.pem")
            async with dial(address, ssl=trusting, server_hostname="localhost") as client:
                client.send(get("/1") + get("/2", "Connection: close"))
                assert (await client.answer()).body == b"GET /1? "
                assert (await client.answer()).body == b"GET /2? "
                assert await client.ended() == b""
            async with dial(address, ssl=trusting, server_hostname="localhost") as client:
                client.send(b"nonsense\r\n\r\n")
                assert (await client.answer()).status == 400
                assert await client.ended() == b""

    on_each(scene())


def test_a_unix_socket(on_each: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "socket"
        async with Serving(echo) as serving:
            await serving.server.listen_unix(path, 0o600)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            async with dial(path) as client:
                client.send(post("/unix", b"body"))
                assert (await client.answer()).body == b"POST /unix? body"
        assert not path.exists()

    on_each(scene())


def test_a_dead_socket_is_replaced_and_nothing_else_is(on_each: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        dead = tmp_path / "dead"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(dead))
        file = tmp_path / "file"
        file.write_text("precious")
        async with Serving(echo) as serving:
            await serving.server.listen_unix(str(dead))
            async with dial(dead) as client:
                client.send(get())
                assert (await client.answer()).status == 200
            with pytest.raises(FileExistsError, match="is not a socket"):
                await serving.server.listen_unix(file)
            with pytest.raises(OSError, match="another process already listens") as caught:
                await Server(echo).listen_unix(dead)
            assert caught.value.errno == errno.EADDRINUSE
            with pytest.raises(OSError, match=r"."):
                await serving.server.listen_unix(tmp_path / "no folder" / "socket")
        assert file.read_text() == "precious"

    on_each(scene())


def test_a_busy_socket_is_not_taken_for_a_dead_one(run: Run, tmp_path: Path) -> None:
    """A full backlog neither accepts nor refuses."""

    async def scene() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(path))
            busy.listen(0)
            clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
            try:
                for client in clients:
                    client.setblocking(False)
                    client.connect_ex(str(path))
                with pytest.raises(OSError, match="another process already listens"):
                    await Server(echo).listen_unix(path)
            finally:
                for client in clients:
                    client.close()

    run(scene())


def test_a_successors_socket_is_left_alone(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "socket"
        first, second = Server(echo), Server(echo)
        await first.listen_unix(path)
        path.unlink()
        await second.listen_unix(path)
        first.close()
        assert path.exists()
        second.close()
        assert not path.exists()
        third = Server(echo)
        await third.listen_unix(path)
        path.unlink()
        third.close()

    run(scene())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_socket_that_somebody_else_opened(on_each: Run, tmp_path: Path, family: socket.AddressFamily) -> None:
    async def scene() -> None:
        sock = socket.socket(family)
        sock.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(tmp_path / "socket"))
        sock.listen()
        where = sock.getsockname()
        async with Serving(echo) as serving:
            await serving.server.adopt(sock)
            async with dial(where if family == socket.AF_INET else Path(where)) as client:
                client.send(get("/adopted"))
                assert (await client.answer()).body == b"GET /adopted? "

    on_each(scene())


# ---- admission


def test_connections_beyond_the_limit_are_turned_away(on_each: Run) -> None:
    async def scene() -> None:
        async with (
            Serving(echo, ServerLimits(max_connections=2)) as serving,
            dial(serving.address) as first,
            dial(serving.address) as second,
        ):
            for client in (first, second):
                client.send(get())
                await client.answer()
            async with dial(serving.address) as third:
                third.send(get())
                answer = await third.answer()
                assert answer.status == 503
                error = msgspec.json.decode(answer.body)["error"]
                assert (error["code"], error["type"]) == ("overloaded", "overloaded_error")
                assert b"raise max_connections" in answer.body
                assert await third.ended() == b""
            first.send(get())
            assert (await first.answer()).status == 200
            await second.close()
            await until(lambda: len(serving.server.connections) == 1)
            async with dial(serving.address) as fourth:
                fourth.send(get())
                assert (await fourth.answer()).status == 200

    on_each(scene())


def test_in_flight_counts_what_is_answered_or_read(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as one, dial(serving.address) as two:
            async with dial(serving.address):
                await until(lambda: len(serving.server.connections) == 3)
                assert serving.server.in_flight == 0
                one.send(get())
                two.send(b"GET / HT")
                await until(lambda: serving.server.in_flight == 2)
            gate.open.set()
            await one.answer()
            await until(lambda: serving.server.in_flight == 1)

    run(scene())


# ---- the end


def test_a_drain_finishes_what_is_in_flight(on_each: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with (
            Serving(gate) as serving,
            dial(serving.address) as busy,
            dial(serving.address) as reading,
        ):
            busy.send(get())
            reading.send(post(body=b"abc")[:-1])
            await until(lambda: serving.server.in_flight == 2)
            draining = asyncio.ensure_future(serving.server.drain(30.0))
            await turns()
            with pytest.raises(ConnectionRefusedError):
                async with dial(serving.address):
                    pass
            assert not draining.done()
            gate.open.set()
            answer = await busy.answer()
            assert (answer.body, answer.headers["connection"]) == (b"done", "close")
            assert await busy.ended() == b""
            reading.send(b"c")
            assert (await reading.answer()).body == b"done"
            assert await draining is True
            assert not serving.server.connections

    on_each(scene())


def test_a_drain_ends_idle_connections_and_answers_new_ones(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as idle, dial(serving.address) as new:
            idle.send(get("/old"))
            assert (await idle.answer()).body == b"GET /old? "
            await until(lambda: len(serving.server.connections) == 2)
            draining = asyncio.ensure_future(serving.server.drain(30.0))
            assert await idle.ended() == b""
            assert not draining.done()
            new.send(get("/new"))
            answer = await new.answer()
            assert (answer.body, answer.headers["connection"]) == (b"GET /new? ", "close")
            assert await draining is True

    on_each(scene())


def test_a_new_connection_that_asks_nothing_does_not_hold_up_a_drain(
    on_each: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_connection, "_FIRST_REQUEST", SHORT)

    async def scene() -> None:
        async with Serving(echo) as serving, dial(serving.address) as new:
            await until(lambda: len(serving.server.connections) == 1)
            assert await serving.server.drain(30.0) is True
            assert await new.ended() == b""

    on_each(scene())


def test_a_drain_ends_with_its_grace(on_each: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(get())
            await until(lambda: gate.entered)
            assert await serving.server.drain(SHORT) is False
            assert await client.ended() == b""
            await until(lambda: gate.cancelled)
            assert await serving.server.drain(SHORT) is True

    on_each(scene())


def test_two_drains_at_once(run: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(get())
            await until(lambda: gate.entered)
            drains = [asyncio.ensure_future(serving.server.drain(30.0)) for _ in range(2)]
            await turns()
            gate.open.set()
            assert await asyncio.gather(*drains) == [True, True]

    run(scene())


def test_a_drain_of_nothing(run: Run) -> None:
    async def scene() -> None:
        assert await Server(echo).drain(30.0) is True

    run(scene())


def test_a_connection_that_slips_in_during_the_drain_is_served_once(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            serving.server.draining = True
            async with dial(serving.address) as client:
                client.send(get())
                assert (await client.answer()).status == 200
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await client.reader.readexactly(1)

    run(scene())


def test_a_connection_that_slips_in_after_it_is_told(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving:
            serving.server.closed = True
            async with dial(serving.address) as client:
                client.send(get())
                answer = await client.answer()
                assert answer.status == 503
                assert b"shutting down" in answer.body
                serving.server.close()  # also closes who was turned away
                with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                    await client.reader.readexactly(1)

    run(scene())


def test_close_cuts_everything_off(on_each: Run) -> None:
    async def scene() -> None:
        gate = Gate()
        async with Serving(gate) as serving, dial(serving.address) as client:
            client.send(get())
            await until(lambda: gate.entered)
            serving.server.close()
            assert await client.ended() == b""
            await until(lambda: gate.cancelled)
            assert not serving.server.connections

    on_each(scene())
