"""The simulator over real connections: through OpenAI's own client, and byte by byte where it misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx
import msgspec
import openai
import pytest

from ai_client.clock import SystemClock
from ai_client.simulator.app import RunningSimulator, start
from ai_client.simulator.settings import Settings
from ai_client.transport.sse import DONE, EventParser
from tests.running import Run

ASK: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Say something."}]}
PATIENCE_S = 30


def simulated(**settings: Any) -> Any:
    """A simulator without delays, and OpenAI's client for it."""

    @contextlib.asynccontextmanager
    async def both() -> AsyncIterator[tuple[RunningSimulator, openai.AsyncOpenAI]]:
        settings.setdefault("profile", "zero")
        async with (
            await start(Settings(**settings), SystemClock()) as running,
            openai.AsyncOpenAI(base_url=running.url, api_key="hs_test", max_retries=0) as client,
        ):
            yield running, client

    return both()


def test_chat_and_its_stream(run: Run) -> None:
    async def scene() -> None:
        async with simulated() as (running, client):
            whole = await client.chat.completions.create(**ASK, max_tokens=20)
            assert whole.usage is not None
            assert whole.usage.completion_tokens == 20
            assert whole.choices[0].finish_reason == "length"
            stream = await client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
            chunks = [chunk async for chunk in stream]
            text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert chunks[-1].usage is not None
            assert len(text) > 3 * chunks[-1].usage.completion_tokens
            assert running.stats()["answered"] == 2

    run(scene())


def test_the_other_endpoints(run: Run) -> None:
    async def scene() -> None:
        async with simulated() as (_, client):
            completion = await client.completions.create(model="gpt-4.1", prompt=["a", "b"], max_tokens=5)
            assert [choice.finish_reason for choice in completion.choices] == ["length", "length"]
            pieces = await client.completions.create(model="gpt-4.1", prompt="a", max_tokens=5, stream=True)
            assert len([piece async for piece in pieces]) == 6
            vectors = await client.embeddings.create(model="text-embedding-3-small", input=["one", "two"])
            assert [len(item.embedding) for item in vectors.data] == [1_536, 1_536]
            assert [model.id async for model in client.models.list()][-1] == "text-embedding-3-small"
            assert (await client.models.retrieve("gpt-4.1")).owned_by == "openai"

    run(scene())


def test_responses_and_their_stream(run: Run) -> None:
    async def scene() -> None:
        async with simulated() as (_, client):
            whole = await client.responses.create(model="gpt-4.1", input="Say something.")
            assert whole.status == "completed"
            assert whole.usage is not None
            events = [
                event async for event in await client.responses.create(model="gpt-4.1", input="Go on.", stream=True)
            ]
            deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
            assert events[-1].type == "response.completed"
            assert events[-1].response.output_text == "".join(deltas)

    run(scene())


def test_refusals_are_the_clients_own_exceptions(run: Run) -> None:
    async def scene() -> None:
        async with simulated(rpm=1, keys=("hs_test",)) as (running, client):
            with pytest.raises(openai.NotFoundError, match=r"did you mean gpt-4\.1"):
                await client.chat.completions.create(**{**ASK, "model": "gpt-4"})
            with pytest.raises(openai.BadRequestError, match="messages is empty"):
                await client.chat.completions.create(model="gpt-4.1", messages=[])
            await client.chat.completions.create(**ASK)
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(**ASK)
            assert 0 < int(caught.value.response.headers["retry-after-ms"]) <= 60_000
            with pytest.raises(openai.AuthenticationError):
                await client.with_options(api_key="hs_other").models.list()
            assert running.stats()["errors"] == {"400": 1, "401": 1, "404": 1}

    run(scene())


def test_the_control_plane_over_http(run: Run) -> None:
    async def scene() -> None:
        async with simulated() as (running, client), httpx.AsyncClient(base_url=running.url[:-3]) as control:
            assert (await control.post("/sim/faults", json={"faults": ["status:529"]})).status_code == 200
            with pytest.raises(openai.InternalServerError, match="overloaded"):
                await client.chat.completions.create(**ASK)
            assert (await control.get("/sim/stats")).json()["faults_injected"] == {"status": 1}
            await control.post("/sim/reset")
            await control.post("/sim/faults", json={"faults": []})
            await client.chat.completions.create(**ASK)
            assert (await control.get("/sim/stats")).json()["answered"] == 1

    run(scene())


def test_one_connection_serves_many_requests_in_order(run: Run) -> None:
    async def scene() -> None:
        async with simulated(latency_ms=5) as (running, _):
            wire = b"".join(request(max_tokens=tokens) for tokens in (3, 1, 2))
            reader, writer = await connect(running)
            writer.write(wire)
            for tokens in (3, 1, 2):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                answer = msgspec.json.decode(await reader.readexactly(length))
                assert answer["usage"]["completion_tokens"] == tokens
            await close(writer)

    run(scene())


# ---- faults, seen from the other end of the wire


def request(path: str = "/v1/chat/completions", **fields: Any) -> bytes:
    body = msgspec.json.encode({**ASK, **fields})
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer hs_test\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def connect(running: RunningSimulator) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx.URL(running.url)
    return await asyncio.open_connection(url.host, url.port)


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


class Seen(msgspec.Struct):
    """What came over the wire until the connection ended, and whether it ended by a reset."""

    head: bytes
    body: bytes
    reset: bool


class Tape(asyncio.Protocol):
    """Keeps all that comes. (asyncio's own stream reader forgets what it has not handed out when a reset comes.)"""

    def __init__(self) -> None:
        self.data = b""
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


async def seen(running: RunningSimulator, **fields: Any) -> Seen:
    """Send one request that asks for the connection to be closed after it; take all that comes."""
    url = httpx.URL(running.url)
    _, tape = await asyncio.get_running_loop().create_connection(Tape, url.host, url.port or 0)
    tape.transport.write(request(**fields).replace(b"host: x", b"host: x\r\nconnection: close"))
    error = await tape.ended
    head, _, body = tape.data.partition(b"\r\n\r\n")
    return Seen(head, body, isinstance(error, ConnectionResetError))


def dechunked(body: bytes) -> tuple[bytes, bool]:
    """A chunked body's content, and whether its last chunk came."""
    data = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return data, True
        data, body = data + rest[:length], rest[length + 2 :]
    return data, False


def is_error(status: bytes) -> Callable[[Seen], bool]:
    return lambda got: got.head.startswith(b"HTTP/1.1 " + status) and b'"error"' in got.body


def promised(got: Seen) -> int:
    return int(got.head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])


def events(got: Seen) -> list[bytes]:
    parser = EventParser()
    return [event.data for event in parser.feed(dechunked(got.body)[0])]


WHOLE: list[tuple[str, Callable[[Seen], bool]]] = [
    ("status:500", is_error(b"500")),
    ("status:529@retry-after=3", lambda got: b"\r\nretry-after: 3" in got.head),
    ("context-length", is_error(b"400")),
    ("content-filter", is_error(b"400")),
    ("reset", lambda got: got.reset and not got.head),
    ("reset-after-headers", lambda got: got.reset and b" 200 " in got.head and not got.body),
    ("cut", lambda got: got.reset and 0 < len(got.body) < promised(got)),
    ("cut:fin", lambda got: not got.reset and 0 < len(got.body) < promised(got)),
    ("cut:close", lambda got: not got.reset and b"content-length" not in got.head and len(got.body) > 0),
    ("bad-json", lambda got: len(got.body) == promised(got) and not got.body.endswith(b"}")),
    ("length", lambda got: len(got.body) == promised(got) - 100),
    ("length:fewer", lambda got: len(got.body) == promised(got) + 10),
    ("empty", lambda got: b" 200 " in got.head and not got.body),
    ("html", lambda got: b" 502 " in got.head and b"<html>" in got.body),
    ("html:200", lambda got: b" 200 " in got.head and b"<html>" in got.body),
    ("bad-gzip", lambda got: b"content-encoding: gzip" in got.head and len(got.body) > 10),
    ("stall@for=0.01", lambda got: len(got.body) == promised(got)),
    ("stall-mid@for=0.01", lambda got: len(got.body) == promised(got)),
    ("drip:1", lambda got: len(got.body) == promised(got)),
]

STREAMED: list[tuple[str, Callable[[Seen], bool]]] = [
    ("cut", lambda got: got.reset and len(events(got)) == 6 and not dechunked(got.body)[1]),
    ("cut:fin@after=3", lambda got: not got.reset and len(events(got)) == 3 and not dechunked(got.body)[1]),
    ("cut:close", lambda got: not got.reset and b"chunked" not in got.head and DONE not in got.body),
    ("no-done", lambda got: dechunked(got.body)[1] and DONE not in events(got)),
    ("no-finish", lambda got: events(got)[-1] == DONE and b'"finish_reason":"' not in got.body),
    ("bad-json", lambda got: sum(not data.endswith(b"}") for data in events(got) if data != DONE) == 1),
    ("sse-error", lambda got: b'"error"' in events(got)[-1] and dechunked(got.body)[1]),
    ("stall-mid@for=0.01", lambda got: len(events(got)) == 13 and events(got)[-1] == DONE),
    ("drip:0", lambda got: len(events(got)) == 13 and events(got)[-1] == DONE),
]


@pytest.mark.parametrize(
    ("spec", "shows", "stream"),
    [*((spec, shows, False) for spec, shows in WHOLE), *((spec, shows, True) for spec, shows in STREAMED)],
    ids=[*(f"whole-{spec}" for spec, _ in WHOLE), *(f"stream-{spec}" for spec, _ in STREAMED)],
)
def test_a_fault_on_the_wire(run: Run, spec: str, shows: Callable[[Seen], bool], stream: bool) -> None:
    async def scene() -> None:
        async with simulated(reply_tokens=10, faults=(f"{spec}{',' if '@' in spec else '@'}times=1",)) as (running, _):
            got = await seen(running, stream=stream)
            assert shows(got), got
            sound = await seen(running, stream=stream)
            assert b" 200 " in sound.head
            assert len(events(sound)) == 13 if stream else len(sound.body) == promised(sound)
            assert running.stats()["faults_injected"] == {spec.partition("@")[0].partition(":")[0]: 1}

    run(scene())


@pytest.mark.parametrize(
    ("spec", "stream"), [("stall", False), ("stall", True), ("stall-mid", False), ("stall-mid", True)]
)
def test_a_stall_lasts_until_the_client_gives_up(run: Run, spec: str, stream: bool) -> None:
    async def scene() -> None:
        async with simulated(faults=(f"{spec}@times=1",)) as (running, client):
            reader, writer = await connect(running)
            writer.write(request(stream=stream))
            if spec == "stall-mid":
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
            await client.chat.completions.create(**ASK)  # others are served meanwhile
            assert running.stats()["in_flight"] == 1
            await close(writer)
            await nobody_is_served(running)

    run(scene())


async def nobody_is_served(running: RunningSimulator) -> None:
    """Ask until nothing is in flight any more; the fixture `run` bounds the wait."""
    async with httpx.AsyncClient(base_url=running.url[:-3]) as control:
        while (await control.get("/sim/stats")).json()["in_flight"]:
            pass


def test_a_client_that_leaves_mid_stream_is_noticed(run: Run) -> None:
    async def scene() -> None:
        async with simulated(latency_ms=0, token_ms=5, reply_tokens=2_000) as (running, client):
            async with await client.chat.completions.create(**ASK, stream=True) as stream:
                async for _ in stream:
                    break
                assert running.stats()["in_flight"] == 1
            await client.close()
            await nobody_is_served(running)

    run(scene())


def test_it_listens_where_it_is_told(run: Run) -> None:
    async def scene() -> None:
        try:
            running = await start(Settings(profile="zero"), SystemClock(), "::1")
        except OSError:
            pytest.skip("this machine has no IPv6 loopback")
        assert running.url.startswith("http://[::1]:")
        with pytest.raises(OSError, match="in use"):
            await start(Settings(profile="zero"), SystemClock(), "::1", int(running.url.rpartition(":")[2][:-3]))
        await running.close()

    run(scene())


def test_the_command_as_a_process_of_its_own() -> None:
    arguments = ["simulate", "--json", "--listen", "127.0.0.1:0", "--profile", "zero", "--rpm", "5", "--key", "hs_only"]
    code = "from ai_client.cli.main import main; main()"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            url = msgspec.json.decode(process.stdout.readline())["url"]
            with openai.OpenAI(base_url=url, api_key="hs_only", max_retries=0) as client:
                answer = client.chat.completions.with_raw_response.create(**ASK)
            assert answer.headers["x-ratelimit-limit-requests"] == "5"
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
