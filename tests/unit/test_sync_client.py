"""`AIClient`: the same client for threads, and its loop's beginning and end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
from pathlib import Path
from typing import Any

import pytest

from ai_client.errors import AIClientError, ConfigurationError, InvalidRequestError, UnknownModelError
from ai_client.sync_client import AIClient, LoopThread
from tests.gateway import HELLO, Recorder, recorder, serving, simulated, write_config
from tests.running import Run
from tests.wire import until

SSE = [(b"content-type", b"text/event-stream")]
PIECE = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'


def test_a_plain_program(run: Run, tmp_path: Path) -> None:
    def program(config: Path) -> None:
        with AIClient(config=config) as client:
            answer = client.chat_completion(HELLO, model="gpt-4.1", priority=7, max_tokens=6)
            assert answer["usage"]["completion_tokens"] == 6
            chunks = list(client.chat_completion(HELLO, "gpt-4.1", stream=True, max_tokens=6))
            assert chunks[-1]["choices"][0]["finish_reason"] == "length"
            assert len(client.embeddings("a", "text-embedding-3-small")["data"]) == 1
            answers = client.batch_process([{"messages": HELLO}, {"messages": []}], "gpt-4.1", concurrency=2)
            assert [type(each) for each in answers] == [dict, InvalidRequestError]
            with pytest.raises(UnknownModelError):
                client.chat_completion(HELLO, "gpt-4")
            stats = client.get_stats()
            assert (stats["total_requests"], stats["total_errors"]) == (6, 2)
        assert threading.active_count() == before

    before = threading.active_count() + 1  # the thread that runs the program

    async def scene() -> None:
        async with simulated() as simulator:
            await asyncio.to_thread(program, write_config(tmp_path, simulator.url))

    run(scene())


def test_threads_share_a_client(run: Run, tmp_path: Path) -> None:
    def program(config: Path) -> None:
        def ask(number: int) -> tuple[int, int]:
            if number % 2:
                chunks = list(client.chat_completion(HELLO, "gpt-4.1", stream=True, max_tokens=number + 2))
                return number, sum(1 for chunk in chunks if chunk["choices"][0]["delta"].get("content"))
            return number, client.chat_completion(HELLO, "gpt-4.1", max_tokens=number + 2)["usage"]["completion_tokens"]

        with AIClient(config=config) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(40))) == [(number, number + 2) for number in range(40)]
            assert client.get_stats()["total_requests"] == 40

    async def scene() -> None:
        async with simulated() as simulator:
            await asyncio.to_thread(program, write_config(tmp_path, simulator.url))

    run(scene())


@pytest.mark.parametrize("way", ["break", "close", "with", "unread"])
def test_a_stream_that_is_left_ends_at_the_provider(run: Run, tmp_path: Path, way: str) -> None:
    def program(config: Path, upstream: Recorder) -> None:
        with AIClient(config=config) as client:
            chunks = client.chat_completion(HELLO, "gpt-4.1", stream=True)
            if way == "break":
                for chunk in chunks:
                    assert chunk["choices"]
                    break
                del chunks
                gc.collect()
            elif way == "with":
                with chunks:
                    next(chunks)
            else:
                if way == "close":
                    next(chunks)
                chunks.close()
                chunks.close()
            assert client._client._service.in_flight == 0

    async def scene() -> None:
        async with recorder() as upstream:
            upstream.headers, upstream.pieces, upstream.hold = SSE, [PIECE], True
            await asyncio.to_thread(program, write_config(tmp_path, upstream.url), upstream)
            await until(lambda: upstream.left)

    run(scene())


def test_closing_ends_whoever_still_waits(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            upstream.hold = True
            config = write_config(tmp_path, upstream.url, {"api": {"max_retries": 5}})
            client = await asyncio.to_thread(AIClient, config=config)
            waiting = asyncio.create_task(asyncio.to_thread(client.chat_completion, HELLO, "gpt-4.1"))
            await until(lambda: upstream.held)
            await asyncio.to_thread(client.close)
            await asyncio.wait([waiting])
            assert waiting.cancelled() or isinstance(waiting.exception(), AIClientError)

    run(scene())


def test_after_the_end(tmp_path: Path) -> None:
    client = AIClient(config=write_config(tmp_path, "http://127.0.0.1:1/v1"))
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.chat_completion(HELLO, "gpt-4.1")
    assert client.get_stats()["total_requests"] == 0


def test_a_stream_outlives_its_client_without_a_word(run: Run, tmp_path: Path) -> None:
    def program(config: Path) -> None:
        with AIClient(config=config) as client:
            chunks = client.chat_completion(HELLO, "gpt-4.1", stream=True)
            next(chunks)
        with pytest.raises(RuntimeError, match="this client is closed"):
            next(chunks)
        chunks.close()

    async def scene() -> None:
        async with recorder() as upstream:
            upstream.headers, upstream.pieces, upstream.hold = SSE, [PIECE], True
            await asyncio.to_thread(program, write_config(tmp_path, upstream.url))

    run(scene())


def test_what_is_wrong_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError):
        AIClient(api_key="sk-wrong")
    assert threading.active_count() == before


def test_through_the_nodes_daemon(run: Run, tmp_path: Path) -> None:
    def program(address: str) -> dict[str, Any]:
        with AIClient.local(address) as client:
            return client.chat_completion(HELLO, "gpt-4.1")

    async def scene() -> None:
        async with simulated() as simulator:
            address = f"unix:{tmp_path / 's'}"
            async with serving(write_config(tmp_path, simulator.url), address):
                assert (await asyncio.to_thread(program, address))["model"] == "gpt-4.1"

    run(scene())


def test_a_loop_thread_runs_what_it_is_given() -> None:
    async def double(number: int) -> int:
        return 2 * number

    async def last() -> None:
        ended.append(threading.current_thread().name)

    ended: list[str] = []
    thread = LoopThread()
    assert thread.run(double(4)) == 8
    assert not thread.closed
    thread.close(last)
    thread.close(last)
    assert (thread.closed, ended) == (True, ["ai-client"])
