"""`get_client()` and `get_async_client()`: what of the SDK's requests reaches the pipeline, and what comes back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import openai
import pytest

from ai_client.client import AsyncAIClient
from ai_client.errors import ConfigurationError
from ai_client.openai_sdk import get_async_client, get_client
from tests.gateway import HELLO, KEY, recorder, simulated, write_config
from tests.running import Run
from tests.wire import until

CHUNK = b'data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'


def test_the_request_travels_and_the_sdks_own_key_does_not(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            recorder() as upstream,
            get_async_client(AsyncAIClient(config=write_config(tmp_path, upstream.url)), organization="org") as client,
        ):
            await client.chat.completions.create(
                model="gpt-4.1", messages=HELLO, extra_body={"own": 1}, extra_headers={"x-priority": "9", "x-own": "1"}
            )
            await client.post("/files/a%2Fb?purpose=x", cast_to=object, body={"a": 1})
            chat, other = upstream.requests
            assert b'"own":1' in chat.body
            assert chat.header(b"authorization") == b"Bearer " + KEY.encode()
            assert chat.header(b"openai-organization") == b"org"
            assert chat.header(b"x-own") is None
            assert (other.method, other.path, other.query) == ("POST", "/v1/files/a%2Fb", "purpose=x")

    run(scene())


def test_headers_mean_what_they_mean_to_the_daemon(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            simulated("stall@model=gpt-4.1") as simulator,
            AsyncAIClient(config=write_config(tmp_path, simulator.url, {"caching": {"enabled": "yes"}})) as ours,
            get_async_client(ours) as client,
        ):
            create = client.chat.completions.with_raw_response.create
            found = []
            for headers in ({}, {}, {"cache-control": "no-cache"}, {"cache-control": "no-store"}):
                answer = await create(model="deepseek-v3.2", messages=HELLO, extra_headers=headers)
                found.append(answer.headers.get("x-ai-client-cache"))
                await asyncio.sleep(0)  # an answer is kept beside its caller's way
            assert found == ["miss", "hit", None, None]
            assert simulator.stats()["answered"] == 3
            with pytest.raises(openai.APIStatusError) as caught:
                await create(model="gpt-4.1", messages=HELLO, extra_headers={"x-ai-client-timeout": "0.1"})
            assert caught.value.status_code == 504

    run(scene())


@pytest.mark.parametrize("header", ["x-priority", "x-ai-client-timeout"])
def test_a_header_that_is_no_number_is_refused(run: Run, tmp_path: Path, header: str) -> None:
    async def scene() -> None:
        async with (
            recorder() as upstream,
            get_async_client(AsyncAIClient(config=write_config(tmp_path, upstream.url))) as client,
        ):
            with pytest.raises(openai.BadRequestError, match=f"the header {header} is not a number"):
                await client.chat.completions.create(model="gpt-4.1", messages=HELLO, extra_headers={header: "high"})
            assert upstream.requests == []

    run(scene())


def test_a_key_and_a_url_are_those_of_the_client_that_asks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the SDK's, which speaks to nobody else: they would be passed over, and the configured provider asked."""
    monkeypatch.setenv("AI_CLIENT_CONFIG", str(write_config(tmp_path, "http://127.0.0.1:1/v1")))

    def program(url: str) -> None:
        with get_client(api_key=KEY, base_url=url) as client:
            assert client.chat.completions.create(model="gpt-4.1", messages=HELLO).model == "gpt-4.1"

    async def scene() -> None:
        async with simulated() as simulator:
            await asyncio.to_thread(program, simulator.url)
            async with get_async_client(base_url=simulator.url) as client:
                await client.models.list()
                await client.chat.completions.create(model="gpt-4.1", messages=HELLO)
            assert simulator.stats()["answered"] == 2
            async with AsyncAIClient() as ours:
                with pytest.raises(TypeError, match="api_key and base_url: give it to the client"):
                    get_async_client(ours, api_key="k", base_url=simulator.url)

    run(scene())


def test_a_key_that_is_none_is_the_node_s(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the SDK, which then takes its own variable: programs hand on `os.environ.get(…)`."""

    async def scene() -> None:
        async with simulated(keys=(KEY,)) as simulator:
            monkeypatch.setenv("AI_CLIENT_CONFIG", str(write_config(tmp_path, simulator.url)))
            async with get_async_client(api_key=None, base_url=None) as client:
                await client.chat.completions.create(model="gpt-4.1", messages=HELLO)

    run(scene())


def test_the_sdks_timeout_is_kept(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            simulated("stall") as simulator,
            get_async_client(AsyncAIClient(config=write_config(tmp_path, simulator.url))) as client,
        ):
            with pytest.raises(openai.APIStatusError) as caught:
                await client.with_options(timeout=0.1).chat.completions.create(model="gpt-4.1", messages=HELLO)
            assert caught.value.status_code == 504

    run(scene())


def test_a_stream_that_is_left_ends_at_the_provider(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> None:
        with get_client() as client:
            stream = client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
            assert next(iter(stream)).choices[0].delta.content == "a"
            stream.close()
            unread = client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
        unread.close()

    async def scene() -> None:
        async with recorder() as upstream:
            monkeypatch.setenv("AI_CLIENT_CONFIG", str(write_config(tmp_path, upstream.url)))
            upstream.headers, upstream.pieces, upstream.hold = [(b"content-type", b"text/event-stream")], [CHUNK], True
            await asyncio.to_thread(program)
            await until(lambda: upstream.left == 2)

    run(scene())


def test_a_stream_that_breaks_raises_the_sdks_error(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def program() -> None:
        with get_client() as client:
            stream = client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
            with pytest.raises(openai.APIError, match="complete"):
                list(stream)

    async def scene() -> None:
        async with recorder() as upstream:
            monkeypatch.setenv("AI_CLIENT_CONFIG", str(write_config(tmp_path, upstream.url)))
            upstream.headers, upstream.pieces = [(b"content-type", b"text/event-stream")], [CHUNK, CHUNK]
            await asyncio.to_thread(program)
            async with get_async_client() as client:
                stream = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
                with pytest.raises(openai.APIError, match="complete"):
                    async for _ in stream:
                        pass

    run(scene())


def test_whoever_reads_its_bytes_is_told_too(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK hands out the bytes as they are on request: they must not end as if they were whole."""

    def program() -> None:
        with (
            get_client() as client,
            client.chat.completions.with_streaming_response.create(model="gpt-4.1", messages=HELLO, stream=True) as raw,
            pytest.raises(Exception, match="complete") as caught,
        ):
            list(raw.iter_bytes())
        assert caught.type.__name__ == "RemoteProtocolError"

    async def asynchronous() -> None:
        async with (
            get_async_client() as client,
            client.chat.completions.with_streaming_response.create(model="gpt-4.1", messages=HELLO, stream=True) as raw,
        ):
            with pytest.raises(Exception, match="complete") as caught:
                [piece async for piece in raw.iter_bytes()]
            assert caught.type.__name__ == "RemoteProtocolError"

    async def scene() -> None:
        async with recorder() as upstream:
            monkeypatch.setenv("AI_CLIENT_CONFIG", str(write_config(tmp_path, upstream.url)))
            upstream.headers, upstream.pieces = [(b"content-type", b"text/event-stream")], [CHUNK, CHUNK]
            await asyncio.to_thread(program)
            await asynchronous()

    run(scene())


def test_headers_tell_what_happened(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            simulated() as simulator,
            get_async_client(AsyncAIClient(config=write_config(tmp_path, simulator.url))) as client,
        ):
            answer = await client.chat.completions.with_raw_response.create(model="gpt-4.1", messages=HELLO)
            assert answer.headers["x-ai-client-target"] == "holysheep/gpt-4.1"
            assert answer.headers["x-request-id"].startswith("req_")

    run(scene())


def test_a_configuration_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_CLIENT_API__API_KEY", "sk-wrong")
    with pytest.raises(ConfigurationError, match="hs_"):
        get_client()
    with pytest.raises(ConfigurationError, match="hs_"):
        get_async_client()


def test_closing_twice_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_CLIENT_CONFIG", str(write_config(tmp_path, "http://127.0.0.1:1/v1")))
    client = get_client()
    client.close()
    client.close()


def test_without_the_sdk_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['openai'] = None; import ai_client; ai_client.get_client"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'ai-client[openai]'" in done.stderr
