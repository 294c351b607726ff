"""Tunnels through proxies of every temper, with and without TLS inside."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any, cast

import pytest

from ai_client.errors import ConnectError, UpstreamTimeoutError
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.proxy import Proxy, open_tunnel
from ai_client.transport.timer import Timeouts
from ai_client.transport.tls import client_context
from tests.running import Run
from tests.wire import (
    CERTIFICATES,
    PATIENT,
    RawClient,
    Serving,
    Talk,
    Upstream,
    echo,
    post,
    server_tls,
    turns,
    until,
)


@pytest.mark.parametrize(
    ("url", "host", "port", "user"),
    [
        ("http://proxy", "proxy", 3128, None),
        ("http://proxy:8080/", "proxy", 8080, None),
        ("http://[::1]:8080", "::1", 8080, None),
        ("http://me:p%40ss%3A@proxy:1", "proxy", 1, "me:p@ss:"),
        ("http://me@proxy:1", "proxy", 1, "me:"),
    ],
)
def test_a_url_of_a_proxy(url: str, host: str, port: int, user: str | None) -> None:
    authorization = "" if user is None else "Basic " + base64.b64encode(user.encode()).decode()
    assert Proxy.parse(url) == Proxy(host, port, authorization)


@pytest.mark.parametrize(
    "url",
    [
        "proxy:8080",
        "https://proxy:8080",
        "http://",
        "http://me:SECRET@:80",
        "http://me:SECRET@proxy:port",
        "http://me:SECRET/more@proxy:80",
        "http://me:9/SECRET@proxy:80",
        "http://me:SECRET@proxy:0",
        "http://me:SECRET@[proxy:80",
        "socks5://me:SECRET@proxy:80",
    ],
)
def test_a_url_of_no_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="a proxy is written") as caught:
        Proxy.parse(url)
    assert "SECRET" not in str(caught.value)


class Tunnel:
    """A proxy that lets everybody through, and remembers whom."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n") -> None:
        self._answer = answer
        self.heads: list[str] = []

    async def __call__(self, client: RawClient) -> None:
        self.heads.append((await client.reader.readuntil(b"\r\n\r\n")).decode())
        host, _, port = self.heads[-1].split(" ")[1].rpartition(":")
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        for byte in self._answer:  # however it is cut
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        try:
            await asyncio.wait(
                [
                    asyncio.ensure_future(pump(client.reader, writer)),
                    asyncio.ensure_future(pump(reader, client.writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            writer.close()


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)


def through(proxy: Upstream, url: str, user: str = "", **settings: Any) -> Pool:
    made = Proxy.parse(f"http://{user}127.0.0.1:{proxy.port}")
    return Pool(Origin.parse(url), PoolSettings(proxy=made, **settings))


def test_a_tunnel_without_tls(on_each: Run) -> None:
    async def scene() -> None:
        tunnel = Tunnel()
        async with Serving(echo) as serving, Upstream(tunnel) as proxy:
            # a context is for https alone: given for all origins, it must not reach this one
            pool = through(proxy, serving.url, tls=client_context())
            for number in range(3):
                incoming = await pool.request(post(f"/{number}"), PATIENT)
                assert await incoming.read_all(100) == b"POST /%d? {}" % number
            port = serving.address[1]
            assert tunnel.heads == [f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"]
            pool.close()
            await until(lambda: not proxy.open)

    on_each(scene())


def test_a_tunnel_with_tls_inside_and_a_password(on_each: Run) -> None:
    async def scene() -> None:
        tunnel = Tunnel()
        async with Serving(echo) as serving, Upstream(tunnel) as proxy:
            _, port = await serving.server.listen_tcp("127.0.0.1", 0, server_tls())
            tls = client_context(ca_bundle=CERTIFICATES / "ca.pem")
            pool = through(proxy, f"https://localhost:{port}", user="me:secret@", tls=tls)
            for number in range(3):
                incoming = await pool.request(post(f"/{number}"), PATIENT)
                assert await incoming.read_all(100) == b"POST /%d? {}" % number
            (head,) = tunnel.heads
            assert head.startswith(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n")
            assert "Proxy-Authorization: Basic " + base64.b64encode(b"me:secret").decode() in head
            pool.close()
            await until(lambda: not proxy.open)

    on_each(scene())


def test_ipv6_is_bracketed(run: Run) -> None:
    async def scene() -> None:
        heads: list[bytes] = []

        async def talk(client: RawClient) -> None:
            heads.append(await client.reader.readuntil(b"\r\n\r\n"))
            client.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")

        async with Upstream(talk) as proxy:
            with pytest.raises(ConnectError):
                await through(proxy, "http://[::1]:8080").request(post(), PATIENT)
            assert heads == [b"CONNECT [::1]:8080 HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n"]

    run(scene())


def says(answer: bytes) -> Talk:
    async def talk(client: RawClient) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        client.send(answer)
        await turns()

    return talk


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "refused the tunnel: 407 Proxy Authentication Required",
        ),
        (b"HTTP/1.0 502 \r\nX: y\r\n\r\nbody", "refused the tunnel: 502"),
        (b"HTTP/1.1\r\n\r\n", "refused the tunnel: no status"),
        (b"HTTP/1.1 \r\n\r\n", "refused the tunnel: no status"),
        (b"220 mail.example.org ESMTP\r\n\r\n", "does not answer like an HTTP proxy"),
        (b"x" * 100_000, "does not answer like an HTTP proxy"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "sent something before the tunnel was used"),
        (b"HTTP/1.1 200 OK\r\n", "closed the connection"),
        (b"", "closed the connection"),
    ],
)
def test_a_proxy_that_does_not_let_us_through(on_each: Run, answer: bytes, reason: str) -> None:
    async def scene() -> None:
        async with Upstream(says(answer)) as proxy:
            pool = through(proxy, "http://127.0.0.1:9")
            with pytest.raises(ConnectError, match=reason) as caught:
                await pool.request(post(), PATIENT)
            assert f"the proxy 127.0.0.1:{proxy.port}" in caught.value.message
            assert caught.value.sent is False
            await until(lambda: not proxy.open)
            assert (pool.open_connections, pool._opening) == (0, 0)

    on_each(scene())


def test_what_follows_a_refusal_is_not_heard(run: Run) -> None:
    async def scene() -> None:
        async def talk(client: RawClient) -> None:
            await client.reader.readuntil(b"\r\n\r\n")
            client.send(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            await asyncio.sleep(0)
            client.send(b"HTTP/1.1 200 OK\r\n\r\n")

        async with Upstream(talk) as proxy:
            with pytest.raises(ConnectError, match="403"):
                await through(proxy, "http://127.0.0.1:9").request(post(), PATIENT)

    run(scene())


def test_a_dead_proxy(on_each: Run) -> None:
    async def scene() -> None:
        async with Upstream(says(b"")) as proxy:
            pool = through(proxy, "http://127.0.0.1:9")
        with pytest.raises(ConnectError, match="no connection to"):
            await pool.request(post(), PATIENT)

    on_each(scene())


def test_no_tls_behind_the_proxy(on_each: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as serving, Upstream(Tunnel()) as proxy:
            pool = through(proxy, serving.url.replace("http:", "https:"), tls=client_context())
            with pytest.raises(ConnectError):
                await pool.request(post(), PATIENT)
            await until(lambda: not proxy.open)
            assert (pool.open_connections, pool._opening) == (0, 0)

    on_each(scene())


async def _hang(client: RawClient) -> None:
    await client.reader.read()


async def _hang_in_the_handshake(client: RawClient) -> None:
    await client.reader.readuntil(b"\r\n\r\n")
    client.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while await client.reader.read(1 << 16):
        pass


async def _leave_in_the_handshake(client: RawClient) -> None:
    await client.reader.readuntil(b"\r\n\r\n")
    client.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await client.reader.read(1)


@pytest.mark.parametrize("talk", [_hang, _hang_in_the_handshake])
def test_a_proxy_that_hangs(on_each: Run, talk: Talk) -> None:
    async def scene() -> None:
        async with Upstream(talk) as proxy:
            pool = through(proxy, "https://localhost:9", tls=client_context(), connect_timeout=0.03)
            with pytest.raises(UpstreamTimeoutError) as caught:
                await pool.request(post(), Timeouts())
            assert (caught.value.phase, caught.value.sent) == ("connect", False)
            await until(lambda: not proxy.open)
            assert (pool.open_connections, pool._opening) == (0, 0)

    on_each(scene())


def test_a_proxy_that_leaves_during_the_handshake(on_each: Run) -> None:
    async def scene() -> None:
        async with Upstream(_leave_in_the_handshake) as proxy:
            pool = through(proxy, "https://localhost:9", tls=client_context())
            with pytest.raises(ConnectError):
                await pool.request(post(), PATIENT)
            await until(lambda: not proxy.open)

    on_each(scene())


def test_a_handshake_that_leaves_no_transport(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """`start_tls` is allowed to return None."""

    class Loop:
        def __getattr__(self, name: str) -> object:
            return getattr(asyncio.get_running_loop(), name)

        async def start_tls(self, *given: object, **named: object) -> None:
            await asyncio.sleep(0)

    async def scene() -> None:
        async with Upstream(_hang_in_the_handshake) as upstream:
            proxy = Proxy("127.0.0.1", upstream.port)
            loop = cast("asyncio.AbstractEventLoop", cast("Any", Loop()))
            with pytest.raises(ConnectError, match="during the TLS handshake"):
                await open_tunnel(loop, proxy, "host", 1, client_context(), asyncio.Protocol)
            await until(lambda: not upstream.open)

    run(scene())


@pytest.mark.parametrize("talk", [_hang, _hang_in_the_handshake])
def test_a_cancelled_tunnel_is_closed(on_each: Run, talk: Talk) -> None:
    async def scene() -> None:
        async with Upstream(talk) as proxy:
            pool = through(proxy, "https://localhost:9", tls=client_context())
            for patience in range(12):
                task = asyncio.ensure_future(pool.request(post(), PATIENT))
                await turns(patience)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            await until(lambda: not proxy.open)
            assert (pool.open_connections, pool._opening) == (0, 0)

    on_each(scene())
