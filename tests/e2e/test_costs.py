"""What is said of costs where they are none, or not known: through the library, the daemon and its log."""

from __future__ import annotations

from pathlib import Path

import httpx

from ai_client.client import AsyncAIClient
from ai_client.model.request import Endpoint
from tests.gateway import HELLO, serving, simulated, write_config
from tests.running import Run

KEPT = {"caching": {"enabled": "yes", "persistent": "no"}}
UNPRICED = {"api": {"models": "mine=gpt-4.1"}, "models": {"default": "mine"}}


def test_the_same_call_straight_after_is_paid_for_once(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with (
            simulated() as simulator,
            AsyncAIClient(config=write_config(tmp_path, simulator.url, KEPT)) as client,
        ):
            await client.chat_completion(HELLO)
            await client.chat_completion(HELLO)
            assert simulator.stats()["answered"] == 1

    run(scene())


def test_what_the_daemons_cache_gives_costs_the_library_nothing(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        socket = f"unix:{tmp_path}/s"
        async with (
            simulated() as simulator,
            serving(write_config(tmp_path, simulator.url, KEPT), socket),
            AsyncAIClient.local(socket) as client,
        ):
            for stream in (False, True):
                body = {"model": "gpt-4.1", "messages": HELLO, "stream": stream}
                for cache in ("miss", "hit"):
                    reply, record = await client.ask(Endpoint.CHAT, body)
                    if reply.stream is not None:
                        async for _ in reply.stream:
                            pass
                    paid = cache == "miss"
                    assert (record.cache, record.cost_nano > 0, record.usage.total_tokens > 0, record.unpriced) == (
                        cache,
                        paid,
                        paid,
                        False,
                    )

    run(scene())


def test_a_cost_that_is_not_known_is_not_told_as_zero(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        socket = f"unix:{tmp_path}/s"
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url, UNPRICED)
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as http:
                answer = await http.post("/v1/chat/completions", json={"model": "mine", "messages": HELLO})
                assert answer.status_code == 200
                assert "x-ai-client-cost-usd" not in answer.headers
            async with serving(config, socket), AsyncAIClient.local(socket) as near:
                for stream in (False, True):
                    body = {"model": "mine", "messages": HELLO, "stream": stream}
                    reply, record = await near.ask(Endpoint.CHAT, body)
                    if reply.stream is not None:
                        async for _ in reply.stream:
                            pass
                    assert (record.cost_nano, record.unpriced) == (0, True)
                assert near.get_stats()["unpriced"] == 2
            async with AsyncAIClient(config=config) as own:
                await own.chat_completion(HELLO, model="mine")
                assert own.get_stats()["unpriced"] == 1

    run(scene())
