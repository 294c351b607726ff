"""A second request through a real daemon: seen by the caller, by both providers, and by who looks after it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ai_client.daemon.process import Daemon
from tests.gateway import ASK, Recorder, Sections, recorder, serving, write_config
from tests.running import Run
from tests.wire import until

COUNT = b'"usage":{"prompt_tokens":10,"completion_tokens":2}'
ANSWER = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],' + COUNT + b"}"
CHUNKS = [
    b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],' + COUNT + b"}\n\n",
    b"data: [DONE]\n\n",
]
EVENTS = [(b"content-type", b"text/event-stream")]


@contextlib.asynccontextmanager
async def scene(
    folder: Path, *, stream: bool, enabled: bool = True, connections: int = 100
) -> AsyncIterator[tuple[Recorder, Recorder, Daemon, httpx.AsyncClient]]:
    """Two providers of one model and a daemon that knows the first to be quick; then that one answers no more."""
    async with recorder() as first, recorder() as second:
        sections: Sections = {
            "hedge": {"enabled": enabled, "min_samples": 20, "budget_percent": 100},
            "provider other": {"base_url": second.url, "models": "gpt-4.1, another", "api_key": "other"},
            "api": {"connection_pool_size": connections},
        }
        for each in (first, second):
            each.answer = ANSWER
            if stream:
                each.headers, each.pieces = EVENTS, CHUNKS
        async with (
            serving(write_config(folder, first.url, sections)) as (daemon, url),
            httpx.AsyncClient(base_url=url, timeout=30) as client,
        ):
            for _ in range(20):
                assert (await client.post("/v1/chat/completions", json={**ASK, "stream": stream})).status_code == 200
            second.requests.clear()
            first.pieces, first.hold = [], True
            yield first, second, daemon, client


@pytest.mark.parametrize("stream", [False, True])
def test_the_quicker_one_answers_and_the_other_is_given_up(run: Run, tmp_path: Path, stream: bool) -> None:
    async def play() -> None:
        async with scene(tmp_path, stream=stream) as (first, second, daemon, client):
            answer = await client.post("/v1/chat/completions", json={**ASK, "stream": stream})
            assert answer.status_code == 200
            assert b"Hi" in answer.content
            assert answer.headers["x-ai-client-hedge"] == "won"
            assert answer.headers["x-ai-client-attempts"] == "2"
            assert answer.headers["x-ai-client-target"] == "other/gpt-4.1"
            await until(lambda: first.left == 1)
            assert len(second.requests) == 1
            await daemon.reload()
            shown = (await client.get("/metrics")).text
            for line in ("hedges_total", "hedges_won_total"):
                assert f'ai_client_{line}{{target="holysheep/gpt-4.1"}} 1.0' in shown
            assert 'ai_client_lost_cost_usd_total{target="holysheep/gpt-4.1",why="hedge"}' in shown
        lines = [json.loads(line) for line in (tmp_path / "logs" / "calls.log").read_text().splitlines()]
        last = lines[-1]
        assert (last["hedge"], last["attempts"], last["usage_estimated"]) == ("won", 2, True)
        assert float(last["lost_usd"]) > 0
        assert last["input_tokens"] == 20, "the prompt is with both"

    run(play())


def test_what_is_off_asks_nobody_twice(run: Run, tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, stream=False, enabled=False) as (first, second, _, client):
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/v1/chat/completions", json=ASK, timeout=0.3)
            await until(lambda: first.left == 1)
            assert second.requests == []

    run(play())


def test_it_does_not_wait_for_a_connection(run: Run, tmp_path: Path) -> None:
    """The one connection to the second provider is in use: the second request is not made at all."""

    async def play() -> None:
        async with scene(tmp_path, stream=False, connections=1) as (first, second, _, client):
            second.hold = True
            holding = asyncio.create_task(client.post("/v1/chat/completions", json={**ASK, "model": "another"}))
            await until(lambda: len(second.requests) == 1)
            denied = 'ai_client_hedges_denied_total{reason="quota",target="holysheep/gpt-4.1"} 1.0'
            late = asyncio.create_task(client.post("/v1/chat/completions", json=ASK))
            while denied not in (await client.get("/metrics")).text:
                assert not late.done()
            for task in (late, holding):
                task.cancel()
            await asyncio.gather(late, holding, return_exceptions=True)
            await until(lambda: first.left == second.left == 1)
            assert len(second.requests) == 1

    run(play())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_connection_is_left_whoever_loses_fails_or_leaves(run: Run, tmp_path: Path) -> None:
    async def play() -> None:
        async with scene(tmp_path, stream=False) as (first, second, _, client):

            async def ask(patience: float = 30.0) -> int:
                return (await client.post("/v1/chat/completions", json=ASK, timeout=patience)).status_code

            assert await ask() == 200
            opened = descriptors()
            for _ in range(10):
                assert await ask() == 200, "the second wins"
                second.hold = True
                with pytest.raises(httpx.ReadTimeout):
                    await ask(0.05)
                second.hold, second.status = False, 400
                with pytest.raises(httpx.ReadTimeout):
                    await ask(0.05)
                second.status, first.hold = 200, False
                assert await ask() == 200
                first.hold = True
            await until(lambda: descriptors() <= opened + 2)
            shown = (await client.get("/metrics")).text
            assert "ai_client_in_flight 0.0" in shown
            for provider in ("holysheep", "other"):
                assert re.search(rf'ai_client_pool_connections{{provider="{provider}"}} [01]\.0', shown)
            assert first.left >= 20

    run(play())
