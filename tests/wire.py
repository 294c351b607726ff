"""Both ends of a connection in a test's hand: a client that sends bytes, and a provider that says what it likes."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from ai_client.transport.exchange import Exchange, Handler, Request
from ai_client.transport.http import Header
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.server import Server, ServerLimits
from ai_client.transport.timer import Timeouts

CERTIFICATES = Path(__file__).parent / "certificates"
PATIENT = Timeouts(20.0, 20.0, 20.0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds; the test's own patience bounds it."""
    while not condition():  # noqa: ASYNC110  there is nobody who would set an event
        await asyncio.sleep(0)


async def turns(count: int = 20) -> None:
    """Let the loop turn so often: for what must not happen."""
    for _ in range(count):
        await asyncio.sleep(0)


class Answer(msgspec.Struct):
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes = b""


class RawClient:
    """A connection that sends what it is told, and reads answers one by one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        if not self.writer.is_closing():
            self.writer.write(data)

    async def head(self) -> Answer:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name not in headers, f"{name} twice"
            headers[name] = value
        protocol, status, _ = first.split(" ", 2)
        assert protocol == "HTTP/1.1"
        return Answer(int(status), headers)

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, whole."""
        answer = await self.head()
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return answer
        if answer.headers.get("transfer-encoding") == "chunked":
            chunks = []
            while chunk := await self.chunk():
                chunks.append(chunk)
            answer.body = b"".join(chunks)
        elif (length := answer.headers.get("content-length")) is not None:
            answer.body = await self.reader.readexactly(int(length))
        else:
            answer.body = await self.reader.read()
        return answer

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size)
        if size:
            assert await self.reader.readexactly(2) == b"\r\n"
        else:
            while await self.reader.readuntil(b"\r\n") != b"\r\n":
                pass
        return data

    async def ended(self) -> bytes:
        """What comes until the server closes."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def dial(where: tuple[str, int] | Path, **options: Any) -> AsyncIterator[RawClient]:
    """A raw connection to a TCP address or a Unix socket."""
    if isinstance(where, Path):
        reader, writer = await asyncio.open_unix_connection(where, **options)
    else:
        reader, writer = await asyncio.open_connection(*where, **options)
    client = RawClient(reader, writer)
    try:
        yield client
    finally:
        await client.close()


class Serving:
    """Our server on a free port, and what it did."""

    def __init__(self, handler: Handler, limits: ServerLimits | None = None) -> None:
        self.crashes: list[BaseException] = []
        self.server = Server(handler, limits, on_crash=self.crashes.append)
        self.address = ("", 0)

    async def __aenter__(self) -> Self:
        self.address = await self.server.listen_tcp("127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.close()
        await until(lambda: not self.server.connections and not self.server._turned_away)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"


def echo(request: Request, exchange: Exchange) -> None:
    """Answers with what it was asked."""
    body = f"{request.method} {request.path}?{request.query} ".encode() + request.body
    exchange.send(200, ((b"content-type", b"text/plain"),), body)


def later(answer: Callable[[Request, Exchange], Coroutine[Any, Any, None]]) -> Handler:
    """Spells out that a handler is a coroutine."""
    return answer


Talk = Callable[[RawClient], Awaitable[None]]


class Upstream:
    """A provider that talks to each connection as `talk` says; the connection ends when `talk` returns."""

    def __init__(self, talk: Talk, tls: ssl.SSLContext | None = None) -> None:
        self._talk = talk
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.opened = 0
        self.open = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.opened += 1
        self.open += 1
        client = RawClient(reader, writer)
        try:
            await self._talk(client)
        except (asyncio.IncompleteReadError, OSError, asyncio.CancelledError):
            pass  # our side went away: what is under test says how
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()
            self.open -= 1
            self._tasks.discard(task)

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def pool(self, **settings: Any) -> Pool:
        return Pool(Origin.parse(self.url), PoolSettings(**settings))


async def read_request(client: RawClient) -> tuple[str, bytes]:
    """The first line and the body of a request that states its length, if it has a body."""
    head = (await client.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    lengths = [int(line.partition(":")[2]) for line in lines if line.lower().startswith("content-length:")]
    return first, await client.reader.readexactly(lengths[0] if lengths else 0)


def answer_with(head: str, body: bytes = b"") -> bytes:
    """Bytes of an answer: `head` is its first line and headers, a line each."""
    return "\r\n".join(line.strip() for line in head.strip().splitlines()).encode() + b"\r\n\r\n" + body


def always(answer: bytes) -> Talk:
    """Answers every request with the same bytes."""

    async def talk(client: RawClient) -> None:
        while True:
            await read_request(client)
            client.send(answer)

    return talk


def post(path: str = "/", body: bytes = b"{}", headers: tuple[Header, ...] = ()) -> bytes:
    """A request on the wire."""
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"POST %b HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n%b\r\n%b" % (path.encode(), len(body), lines, body)


def get(path: str = "/", *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    """A request without a body on the wire."""
    host = [] if version == "1.0" else ["host: test"]
    return "\r\n".join([f"{method} {path} HTTP/{version}", *host, *headers, "", ""]).encode()


def server_tls() -> ssl.SSLContext:
    """A server's TLS, for localhost and 127.0.0.1."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem")
    return context
