"""Server and pool together, as the daemon uses them: a relay between clients of other people's make and a provider."""

from __future__ import annotations

import asyncio
import http.client
import os
import shutil
from pathlib import Path

import httpx
import pytest

from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.http import HOP_BY_HOP
from ai_client.transport.incoming import Incoming
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.server import ServerLimits
from ai_client.transport.tls import client_context
from tests.running import Run
from tests.wire import CERTIFICATES, PATIENT, Serving, dial, echo, get, later, post, server_tls, turns, until


class Relay:
    """Hands every request on to `pool`, and the answer back as it comes."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def __call__(self, request: Request, exchange: Exchange) -> None:
        fields = b"".join(b"%b: %b\r\n" % pair for pair in request.headers if pair[0] not in HOP_BY_HOP)
        target = f"{request.path}?{request.query}" if request.query else request.path
        head = f"{request.method} {target} HTTP/1.1\r\n".encode() + fields
        wire = head + b"content-length: %d\r\n\r\n" % len(request.body) + request.body
        incoming = await self._pool.request(wire, PATIENT)
        headers = [pair for pair in incoming.headers if pair[0] not in HOP_BY_HOP]
        if not incoming.streamed:
            exchange.send(incoming.status, headers, incoming.body)
            return
        exchange.start(incoming.status, headers)
        try:
            await self._stream(incoming, exchange)
        finally:
            incoming.close()

    async def _stream(self, incoming: Incoming, exchange: Exchange) -> None:
        while piece := await incoming.read():
            exchange.write(piece)
            if exchange.backed_up:
                await exchange.drain()
        exchange.end()


def relay_to(serving: Serving, **settings: object) -> Serving:
    pool = Pool(Origin.parse(serving.url), PoolSettings(**settings))  # type: ignore[arg-type]
    return Serving(later(Relay(pool)), ServerLimits())


def test_httpx(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as provider, relay_to(provider) as relay, httpx.AsyncClient() as client:
            for number in range(5):
                answer = await client.post(f"{relay.url}/a/{number}?q=1", content=b"b" * 100_000)
                assert answer.status_code == 200
                assert answer.text == f"POST /a/{number}?q=1 " + "b" * 100_000
            answers = await asyncio.gather(*(client.get(f"{relay.url}/{number}") for number in range(100)))
            assert [answer.text for answer in answers] == [f"GET /{number}? " for number in range(100)]

            async def pieces() -> object:
                for _ in range(10):
                    yield b"c" * 1000

            answer = await client.post(relay.url, content=pieces())  # type: ignore[arg-type]  # chunked
            assert answer.text == "POST /? " + "c" * 10_000
            assert relay.crashes == []

    run(scene())


def test_the_standard_librarys_client(run: Run) -> None:
    def talk(port: int) -> list[tuple[int, bytes]]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        answers = []
        for number in range(5):
            client.request("POST", f"/{number}", b"body", {"Expect": "100-continue"})
            answer = client.getresponse()
            answers.append((answer.status, answer.read()))
        client.close()
        return answers

    async def scene() -> None:
        async with Serving(echo) as serving:
            answers = await asyncio.to_thread(talk, serving.address[1])
            assert answers == [(200, b"POST /%d? body" % number) for number in range(5)]

    run(scene())


async def curl(*arguments: str) -> str:
    program = shutil.which("curl")
    if program is None and not os.environ.get("CI"):
        pytest.skip("curl is not installed")
    assert program is not None, "CI has to have curl"
    process = await asyncio.create_subprocess_exec(
        program, "-sS", "-m", "30", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return output.decode()


def test_curl(run: Run, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 3_000_000)
    path = tmp_path / "socket"

    async def scene() -> None:
        async with Serving(echo, ServerLimits(max_body=5_000_000)) as serving:
            url = serving.url
            assert await curl(f"{url}/a?b=c") == "GET /a?b=c "
            assert await curl("-d", "body", url + "/1", "--next", "-sS", "-d", "body", url + "/2") == (
                "POST /1? bodyPOST /2? body"
            )
            # curl waits for 100 Continue with bodies of this size
            said = await curl("--data-binary", f"@{large}", "-o", "/dev/null", "-w", "%{http_code}", url)
            assert said == "200"
            said = await curl("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{large}", "-o", "/dev/null", url)
            assert said == ""
            assert await curl("--http1.0", url + "/old") == "GET /old? "
            assert "content-length: 8" in await curl("-I", url)
            # the upgrade that curl offers is declined, and the request answered
            assert await curl("--http2", url + "/2") == "GET /2? "
            large.write_bytes(b"x" * 9_000_000)
            said = await curl("--data-binary", f"@{large}", "-w", "%{http_code}", url)
            assert "the body is too large" in said
            assert said.endswith("413")
            await serving.server.listen_unix(path)
            assert await curl("--unix-socket", str(path), "http://localhost/unix") == "GET /unix? "
            _, port = await serving.server.listen_tcp("127.0.0.1", 0, server_tls())
            authority = str(CERTIFICATES / "ca.pem")
            assert await curl("--cacert", authority, f"https://localhost:{port}/tls") == "GET /tls? "

    run(scene())


def test_whoever_leaves_is_left_all_the_way(run: Run) -> None:
    """A client that hangs up closes the relay's request at the provider, whether it streams or still waits."""

    async def scene() -> None:
        entered: list[Exchange] = []
        gone = 0

        def heard() -> None:
            nonlocal gone
            gone += 1

        def provider_handler(request: Request, exchange: Exchange) -> None:
            entered.append(exchange)
            exchange.on_disconnect(heard)
            if request.path == "/stream":
                exchange.start(200, ((b"content-type", b"text/event-stream"),))
                exchange.write(b"data: 1\n\n")

        async with Serving(provider_handler) as provider, relay_to(provider) as relay:
            async with dial(relay.address) as client:
                client.send(get("/wait"))
                await until(lambda: entered)
            await until(lambda: gone == 1)
            async with dial(relay.address) as client:
                client.send(get("/stream"))
                await client.head()
                assert await client.chunk() == b"data: 1\n\n"
            await until(lambda: gone == 2)
            await until(lambda: not provider.server.connections)
            assert relay.crashes == []

    run(scene())


def test_a_slow_client_holds_the_provider_up_all_the_way(run: Run) -> None:
    async def scene() -> None:
        written = 0

        async def provider_handler(request: Request, exchange: Exchange) -> None:
            nonlocal written
            exchange.start(200, ((b"content-type", b"text/event-stream"),))
            while written < 100_000_000:
                exchange.write(b"x" * 100_000)
                written += 100_000
                if exchange.backed_up:
                    await exchange.drain()
            exchange.end()

        async with (
            Serving(later(provider_handler)) as provider,
            relay_to(provider) as relay,
            dial(relay.address, limit=1 << 16) as client,
        ):
            client.send(get())
            await client.head()
            before = -1
            while written != before:
                before = written
                await turns(500)
            assert written < 60_000_000  # what the buffers of four sockets take
            total = 0
            while chunk := await client.chunk():
                total += len(chunk)
            assert total == 100_000_000

    run(scene())


def test_tls_at_both_ends(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as provider:
            _, port = await provider.server.listen_tcp("127.0.0.1", 0, server_tls())
            tls = client_context(ca_bundle=CERTIFICATES / "ca.pem")
            pool = Pool(Origin.parse(f"https://localhost:{port}"), PoolSettings(size=5, tls=tls))
            async with Serving(later(Relay(pool))) as relay:
                _, outside = await relay.server.listen_tcp("127.0.0.1", 0, server_tls())
                async with httpx.AsyncClient(verify=tls, base_url=f"https://localhost:{outside}") as client:
                    body = b"x" * 1_000_000
                    answers = await asyncio.gather(*(client.post(f"/{number}", content=body) for number in range(10)))
                    assert [answer.content for answer in answers] == [
                        b"POST /%d? " % number + body for number in range(10)
                    ]
            assert pool.open_connections <= 5
            pool.close()
            await until(lambda: not provider.server.connections)

    run(scene())


def test_many_connections_over_few(run: Run) -> None:
    async def scene() -> None:
        async with Serving(echo) as provider, relay_to(provider, size=50) as relay:

            async def one(number: int) -> bytes:
                async with dial(relay.address) as client:
                    client.send(post(f"/{number}"))
                    return (await client.answer()).body

            bodies = await asyncio.gather(*(one(number) for number in range(200)))
            assert bodies == [b"POST /%d? {}" % number for number in range(200)]
            await until(lambda: not relay.server.connections)
            assert len(provider.server.connections) <= 50

    run(scene())
