"""`AsyncAIClient`: what it takes, what it gives, and what it leaves behind."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ai_client.client import AsyncAIClient, Chunks
from ai_client.errors import (
    AIClientError,
    BrokenReplyError,
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitedError,
    UnknownModelError,
    UpstreamError,
    UpstreamStatusError,
)
from ai_client.model.request import Endpoint
from ai_client.model.usage import as_members
from ai_client.simulator.app import RunningSimulator
from tests.gateway import HELLO, KEY, Recorder, Sections, recorder, serving, simulated, write_config
from tests.running import Run
from tests.wire import until


@asynccontextmanager
async def library(
    folder: Path, *faults: str, sections: Sections | None = None, **settings: Any
) -> AsyncIterator[tuple[RunningSimulator, AsyncAIClient]]:
    """A simulator, and a client of it in this process."""
    async with (
        simulated(*faults, **settings) as simulator,
        AsyncAIClient(config=write_config(folder, simulator.url, sections)) as client,
    ):
        yield simulator, client


@asynccontextmanager
async def recorded(folder: Path) -> AsyncIterator[tuple[Recorder, AsyncAIClient]]:
    """A provider that keeps what it is sent, and a client of it."""
    async with (
        recorder() as upstream,
        AsyncAIClient(config=write_config(folder, upstream.url)) as client,
    ):
        yield upstream, client


async def rest_of(stream: Chunks) -> list[dict[str, Any]]:
    return [chunk async for chunk in stream]


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["choices"][0]["message"]["content"]
    return text


def test_a_conversation(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path) as (simulator, client):
            answer = await client.chat_completion(HELLO, model="gpt-4.1", max_tokens=9, temperature=0.1)
            assert text_of(answer)
            assert answer["usage"]["completion_tokens"] == 9
            assert (await client.chat_completion(HELLO))["model"] == "deepseek-v3.2"
            assert simulator.stats()["answered"] == 2

    run(scene())


def test_a_fresh_answer_is_none_that_was_kept(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path, sections={"caching": {"enabled": "yes"}}) as (simulator, client):
            for fresh in (False, False, True):
                await client.chat_completion(HELLO, fresh=fresh)
                await asyncio.sleep(0)  # an answer is kept beside its caller's way
            assert simulator.stats()["answered"] == 2
            async with await client.chat_completion(HELLO, stream=True, fresh=True) as chunks:
                assert [chunk async for chunk in chunks]
            assert client.get_stats()["cache_hits"] == 1

    run(scene())


def test_another_provider_can_be_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with simulated() as simulator:
            with pytest.raises(ConfigurationError, match="or AI_CLIENT_API__PROVIDER"):
                AsyncAIClient("sk-other", simulator.url)
            monkeypatch.setenv("AI_CLIENT_API__PROVIDER", "other")
            async with AsyncAIClient("sk-other", simulator.url) as client:
                _, record = await client.ask(Endpoint.CHAT, {"model": "gpt-4.1", "messages": HELLO})
                assert record.target == "other/gpt-4.1"

    run(scene())


def test_what_the_provider_did_not_count_is_estimated_and_marked(run: Run, tmp_path: Path) -> None:
    """In this process and through the daemon alike. "Say hello." has 10 characters."""
    expected = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4, "estimated": True}

    async def scene() -> None:
        async with recorded(tmp_path) as (upstream, client):
            upstream.answer = b'{"choices":[{"message":{"content":"Hi."},"finish_reason":"stop"}]}'
            assert (await client.chat_completion(HELLO, model="gpt-4.1"))["usage"] == expected
            socket = f"unix:{tmp_path}/socket"
            async with (
                serving(write_config(tmp_path, upstream.url), socket),
                AsyncAIClient.local(socket) as local,
            ):
                assert (await local.chat_completion(HELLO, model="gpt-4.1"))["usage"] == expected
            upstream.answer = upstream.answer[:-1] + b',"usage":{"prompt_tokens":8,"completion_tokens":0}}'
            answer = await client.chat_completion(HELLO, model="gpt-4.1")
            assert answer["usage"] == {"prompt_tokens": 8, "completion_tokens": 0}

    run(scene())


def test_so_is_that_of_a_stream_for_who_asked(run: Run, tmp_path: Path) -> None:
    """The node's daemon tells a client whose caller did not ask, too, that it is an estimate."""
    options = {"include_usage": True}

    async def scene() -> None:
        async with library(tmp_path, "no-usage") as (simulator, client):
            *_, last = await rest_of(await client.chat_completion(HELLO, stream=True, stream_options=options))
            assert (last["choices"], last["usage"]["estimated"]) == ([], True)
            socket = f"unix:{tmp_path}/socket"
            async with (
                serving(write_config(tmp_path, simulator.url), socket),
                AsyncAIClient.local(socket) as local,
            ):
                body = {"model": "gpt-4.1", "messages": HELLO, "stream": True}
                reply, record = await local.ask(Endpoint.CHAT, body)
                assert reply.stream is not None
                chunks = await rest_of(Chunks(reply.stream))
                assert all(chunk["choices"] for chunk in chunks)
                assert record.usage.estimated
                reply, told = await local.ask(Endpoint.CHAT, {**body, "stream_options": options})
                assert reply.stream is not None
                *_, last = await rest_of(Chunks(reply.stream))
                assert last["usage"] == as_members(told.usage)
                assert told.usage.estimated

    run(scene())


def test_the_seeds_ways_of_calling(run: Run, tmp_path: Path) -> None:
    """Positional and by keyword, as programs that are ported do it; the priority does not reach the provider."""

    async def scene() -> None:
        async with recorded(tmp_path) as (upstream, client):
            await client.chat_completion(messages=HELLO, model="gpt-4.1", priority=7, temperature=0.7, max_tokens=2048)
            await client.chat_completion(HELLO, "gpt-4.1", 3, top_p=1)
            first, second = upstream.requests
            assert first.body.count(b'"model":"gpt-4.1"') == 1
            assert b'"temperature":0.7,"max_tokens":2048' in first.body
            assert b"priority" not in first.body + second.body
            assert b'"top_p":1' in second.body

    run(scene())


def test_its_own_parameters_win(run: Run) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            client = AsyncAIClient(
                api_key=KEY,
                base_url=upstream.url,
                max_concurrent=2,
                requests_per_minute=6_000,
                tokens_per_minute=600_000,
                timeout=7,
                max_retries=0,
            )
            async with client:
                config = client._service.config
                assert config.performance.max_concurrent_requests == 2
                assert (config.limits.requests_per_minute, config.limits.tokens_per_minute) == (6_000, 600_000)
                assert (config.api.timeout, config.api.max_retries) == (7.0, 0)
                upstream.hold = True
                calls = [asyncio.create_task(client.chat_completion(HELLO, "gpt-4.1", seed=n)) for n in range(4)]
                await until(lambda: len(upstream.held) == 2)
                assert len(upstream.requests) == 2
                upstream.release()
                await asyncio.gather(*calls)
                assert len(upstream.requests) == 4

    run(scene())


def test_a_given_key_is_sent_and_never_the_nodes(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is the program's, too: what the node keeps for its own provider must not go there."""
    (tmp_path / "key").write_text("hs_of_the_node")
    (tmp_path / "ai-client-api-key").write_text("hs_of_the_node")
    (tmp_path / "node.conf").write_text(f"[api]\napi_key_file = {tmp_path}/key\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    async def scene() -> None:
        async with (
            recorder() as upstream,
            AsyncAIClient(KEY, upstream.url, config=tmp_path / "node.conf") as client,
        ):
            await client.chat_completion(HELLO, "gpt-4.1")
            assert upstream.requests[0].header(b"authorization") == f"Bearer {KEY}".encode()

    run(scene())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"api_key": "YOUR_HOLYSHEEP_API_KEY"}, "hs_"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"timeout": -1}, r"given: \[api\] timeout = -1: expected"),
        ({"config": "/nonexistent/ai-client.conf"}, "/nonexistent/ai-client.conf"),
    ],
)
def test_what_is_wrong_is_said_at_once(run: Run, given: dict[str, Any], says: str) -> None:
    async def scene() -> None:
        with pytest.raises(ConfigurationError, match=says):
            AsyncAIClient(**given)

    run(scene())


def test_a_stream(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path) as (_, client):
            stream = await client.chat_completion(HELLO, "gpt-4.1", stream=True, max_tokens=12)
            chunks = [chunk async for chunk in stream]
            assert chunks[-1]["choices"][0]["finish_reason"] == "length"
            assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
            await stream.aclose()
            assert client._service.in_flight == 0

    run(scene())


@pytest.mark.parametrize("read", [0, 1])
def test_a_stream_that_is_left_ends_at_the_provider(run: Run, tmp_path: Path, read: int) -> None:
    async def scene() -> None:
        async with recorded(tmp_path) as (upstream, client):
            upstream.headers, upstream.hold = [(b"content-type", b"text/event-stream")], True
            upstream.pieces = [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n']
            async with await client.chat_completion(HELLO, "gpt-4.1", stream=True) as stream:
                for _ in range(read):
                    assert (await anext(stream))["choices"]
                assert client._service.in_flight == 1
            assert client._service.in_flight == 0
            await until(lambda: upstream.left)

    run(scene())


def test_a_stream_that_breaks_off_raises(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path, "cut:reset@after=4", token_ms=1, latency_ms=0) as (_, client):
            stream = await client.chat_completion(HELLO, "gpt-4.1", stream=True)
            assert (await anext(stream))["choices"]
            with pytest.raises(BrokenReplyError):
                await rest_of(stream)

    run(scene())


def test_embeddings(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path) as (_, client):
            one = await client.embeddings("a", "text-embedding-3-small")
            two = await client.embeddings(("a", "b"), "text-embedding-3-small", dimensions=8)
            assert len(one["data"]) == 1
            assert [len(each["embedding"]) for each in two["data"]] == [8, 8]

    run(scene())


def test_a_batch_gives_each_its_answer_or_its_error(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path, "status:500@model=claude-sonnet-4.5") as (_, client):
            requests: list[Any] = [
                {"messages": HELLO, "priority": 9, "max_tokens": 3},
                {"messages": HELLO, "model": "claude-sonnet-4.5"},
                {"messages": []},
                {"messages": HELLO, "priority": "high"},
                {"messages": HELLO, "priority": 11},
                {"messages": HELLO, "seed": object()},
                {},
                "not a request",
                {"messages": HELLO, "model": "gpt-4.1", "stream": True, "max_tokens": 4},
            ]
            answers = await client.batch_process(requests, model="gemini-2.5-flash", concurrency=3)
            kinds = [type(answer) for answer in answers]
            assert kinds == [dict, UpstreamStatusError, *[InvalidRequestError] * 6, dict]
            first, last = answers[0], answers[-1]
            assert isinstance(first, dict)
            assert isinstance(last, dict)
            assert (first["model"], first["usage"]["completion_tokens"]) == ("gemini-2.5-flash", 3)
            assert (last["model"], last["usage"]["completion_tokens"]) == ("gpt-4.1", 4)
            assert await client.batch_process([]) == []

    run(scene())


def test_a_batch_keeps_to_its_concurrency_and_lets_the_urgent_go_first(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url, {"performance": {"max_concurrent_requests": 1}})
            async with AsyncAIClient(config=config) as client:
                upstream.hold = True
                requests = [{"messages": HELLO, "seed": n, "priority": n} for n in range(1, 6)]
                batch = asyncio.create_task(client.batch_process(requests, "gpt-4.1", concurrency=5))
                await until(lambda: upstream.held)
                upstream.release()
                await batch
            seeds = [request.body.rpartition(b'"seed":')[2] for request in upstream.requests]
            assert seeds == [b"1}", b"5}", b"4}", b"3}", b"2}"]

    run(scene())


def test_what_it_did_is_counted(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path, "status:500@model=claude-sonnet-4.5") as (simulator, client):
            assert client.get_stats()["total_requests"] == 0
            assert client.get_stats()["error_rate"] == 0
            await client.batch_process([{"messages": HELLO, "seed": n} for n in range(3)], "gpt-4.1")
            with pytest.raises(UpstreamStatusError):
                await client.chat_completion(HELLO, "claude-sonnet-4.5")
            stats = client.get_stats()
            assert stats["requests"] == {"gpt-4.1": 3}
            assert stats["errors"] == {"claude-sonnet-4.5": 1}
            assert (stats["total_requests"], stats["total_errors"], stats["error_rate"]) == (4, 1, 0.25)
            assert stats["avg_latency_ms"] > 0
            assert stats["cost_usd"] == simulator.stats()["cost_nano"] / 1e9

    run(scene())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [("status:429", UpstreamStatusError), ("status:403", PermissionDeniedError), ("empty", BrokenReplyError)],
)
def test_errors_are_ours(run: Run, tmp_path: Path, fault: str, kind: type[AIClientError]) -> None:
    async def scene() -> None:
        async with library(tmp_path, fault) as (_, client):
            with pytest.raises(kind):
                await client.chat_completion(HELLO, "gpt-4.1")
            with pytest.raises(UnknownModelError, match="did you mean"):
                await client.chat_completion(HELLO, "gpt-4")
            with pytest.raises(InvalidRequestError, match="cannot be written as JSON"):
                await client.chat_completion(HELLO, "gpt-4.1", seed=object())

    run(scene())


@pytest.mark.parametrize("messages", ["gpt-4.1", b"x", {"role": "user", "content": "a"}, None, 5])
def test_what_is_no_list_of_messages(run: Run, tmp_path: Path, messages: Any) -> None:
    async def scene() -> None:
        async with library(tmp_path) as (_, client):
            with pytest.raises(InvalidRequestError, match="a list of messages first") as caught:
                await client.chat_completion(messages, "gpt-4.1")
            assert caught.value.param == "messages"

    run(scene())


def test_any_endpoint_can_be_asked(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path) as (_, client):
            reply, record = await client.ask(Endpoint.OTHER, b"", path="/models", method="GET", tag="census")
            assert b'"gpt-4.1"' in reply.body
            assert (record.status, record.tag, record.target) == (200, "census", "holysheep")
            body = {"model": "gpt-4.1", "messages": HELLO, "max_tokens": 3}
            reply, record = await client.ask(Endpoint.CHAT, body, timeout=5)
            assert record.usage.output_tokens == 3
            assert record.cost_nano > 0

    run(scene())


def test_closing_twice_is_harmless_and_a_closed_client_says_so(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with library(tmp_path) as (_, client):
            await client.chat_completion(HELLO, "gpt-4.1")
            await client.aclose()
            await client.aclose()
            with pytest.raises(RuntimeError, match="this client is closed"):
                await client.chat_completion(HELLO, "gpt-4.1")
            assert client.get_stats()["total_requests"] == 1

    run(scene())


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_through_the_nodes_daemon(run: Run, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with simulated("status:429@retry-after=3,model=claude-sonnet-4.5") as simulator:
            sections: Sections = {"routing": {"aliases": "fast: gpt-4.1"}, "limits": {"max_wait": 0}}
            socket = f"unix:{tmp_path / 's'}"
            config = write_config(tmp_path, simulator.url, sections)
            async with serving(config, socket, "127.0.0.1:0") as (daemon, url):
                address = socket if way == "unix" else url.removeprefix("http://")
                async with AsyncAIClient.local(address) as client:
                    body = {"model": "fast", "messages": HELLO, "max_tokens": 4}
                    reply, record = await client.ask(Endpoint.CHAT, body, tag="night")
                    assert (record.model, record.target, record.attempts) == ("gpt-4.1", "holysheep/gpt-4.1", 1)
                    assert record.cost_nano == simulator.stats()["cost_nano"] > 0
                    assert not any(name.startswith(b"x-ai-client") for name, _ in reply.headers)
                    stream = await client.chat_completion(HELLO, "fast", stream=True, max_tokens=5)
                    assert len([chunk async for chunk in stream]) >= 5
                    with pytest.raises(UnknownModelError, match="did you mean"):
                        await client.chat_completion(HELLO, "gpt-4")
                    with pytest.raises(AIClientError) as caught:
                        await client.chat_completion(HELLO, "claude-sonnet-4.5")
                    assert (caught.value.status, caught.value.retry_after) == (429, 3.0)
                    assert len(await client.batch_process([{"messages": HELLO}] * 2, "fast")) == 2
                    assert client.get_stats()["total_requests"] == 6
            assert daemon.bound

    run(scene())


def test_the_daemon_is_found_in_the_configuration(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with simulated() as simulator:
            listen = {"daemon": {"listen": f"127.0.0.1:1, unix:{tmp_path / 's'}"}}
            config = write_config(tmp_path, simulator.url, listen)
            async with serving(config, f"unix:{tmp_path / 's'}"):
                async with AsyncAIClient.local(config=config) as client:
                    assert text_of(await client.chat_completion(HELLO, "gpt-4.1"))
                monkeypatch.setenv("AI_CLIENT_CONFIG", str(config))
                async with AsyncAIClient.local() as client:
                    assert text_of(await client.chat_completion(HELLO, "gpt-4.1"))

    run(scene())


@pytest.mark.parametrize("through", ["here", "daemon"])
def test_a_stream_that_is_held_until_it_is_whole(run: Run, tmp_path: Path, through: str) -> None:
    async def scene() -> None:
        spare: Sections = {"models": {"fallback": "deepseek-v3.2"}}
        async with simulated("cut:reset@model=gpt-4.1,after=5") as simulator:
            config = write_config(tmp_path, simulator.url, spare)
            async with serving(config) as (_, url):
                local = AsyncAIClient.local(url.removeprefix("http://"))
                async with AsyncAIClient(config=config) if through == "here" else local as client:
                    chunks = await client.chat_completion(HELLO, "gpt-4.1", stream=True, commit="whole", max_tokens=9)
                    assert {chunk["model"] for chunk in await rest_of(chunks)} == {"deepseek-v3.2"}
                    with pytest.raises(UpstreamError, match="in the middle of its answer"):
                        await rest_of(await client.chat_completion(HELLO, "gpt-4.1", stream=True, max_tokens=9))
                    body = {"model": "deepseek-v3.2", "messages": HELLO, "stream": True}
                    for commit in ("whole", ""):
                        reply, record = await client.ask(Endpoint.CHAT, body, commit=commit)
                        assert record.commit == commit
                        assert reply.stream is not None
                        await reply.stream.aclose()
                    with pytest.raises(InvalidRequestError, match="first_content or whole"):
                        await client.chat_completion(HELLO, "gpt-4.1", stream=True, commit="all")
                await local.aclose()

    run(scene())


@pytest.mark.parametrize(
    "address", ["https://", "ftp://host:1", "http://a:b@host:1", "host:x", "host:99999", "host", "http://host:1/v1"]
)
def test_an_address_that_is_none(run: Run, address: str) -> None:
    async def scene() -> None:
        with pytest.raises(ConfigurationError, match=r"no daemon's address: expected unix:/PATH, HOST:PORT or https"):
            AsyncAIClient.local(address)

    run(scene())


def test_who_goes_through_the_daemon_need_not_read_its_key(plain_user: None, run: Run) -> None:
    async def scene(config: Path) -> None:
        async with AsyncAIClient.local(config=config):
            pass
        with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
            AsyncAIClient(config=config)

    with tempfile.TemporaryDirectory() as folder:
        key, path = Path(folder, "key"), Path(folder, "ai-client.conf")
        key.touch(0o000)
        path.write_text(f"[api]\napi_key_file = {key}\n")
        run(scene(path))


def test_a_daemon_that_is_not_there(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with AsyncAIClient.local(f"unix:{tmp_path / 'none'}") as client:
            with pytest.raises(ConnectError):
                await client.chat_completion(HELLO, "gpt-4.1")

    run(scene())


def test_its_own_limit_is_its_own_error(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"limits": {"requests_per_minute": 60, "burst_seconds": 1, "max_wait": 0}}
        async with library(tmp_path, sections=sections) as (_, client):
            answers = await client.batch_process([{"messages": HELLO, "seed": n} for n in range(3)], "gpt-4.1")
            assert [type(answer) for answer in answers] == [dict, RateLimitedError, RateLimitedError]

    run(scene())
