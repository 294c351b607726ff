"""More work than is admitted: who is refused, and what those who are not notice of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from ai_client.daemon.process import Daemon
from ai_client.simulator.app import RunningSimulator
from tests.gateway import ASK, Sections, error_of, recorder, serving, simulated, write_config
from tests.running import Run
from tests.wire import dial, until

BOUND: Sections = {"admission": {"max_in_flight": 4}, "api": {"timeout": 600}}


def test_low_priorities_are_refused_first_and_a_place_that_is_left_is_had_again(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated("stall@every=1,times=3") as simulator:
            config = write_config(tmp_path, simulator.url, BOUND)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                await hold(daemon, simulator, client)

    async def hold(daemon: Daemon, simulator: RunningSimulator, client: httpx.AsyncClient) -> None:
        post = "/v1/chat/completions"
        held = [asyncio.create_task(client.post(post, json=ASK, headers={"x-priority": "9"})) for _ in range(3)]
        await until(lambda: simulator.stats()["in_flight"] == 3)
        low = await client.post(post, json=ASK, headers={"x-priority": "2"})
        assert (low.status_code, error_of(low)["code"]) == (503, "overloaded")
        assert int(low.headers["retry-after"]) >= 1
        unread = await client.post(post, content=b"{ not read", headers={"x-priority": "1"})
        assert unread.status_code == 503
        assert (await client.post(post, json=ASK, headers={"x-priority": "10"})).status_code == 200
        shown = (await client.get("/metrics")).text
        assert 'ai_client_shed_total{priority="2"} 1.0' in shown
        assert "ai_client_held_bytes 0.0" not in shown
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        await until(lambda: not daemon._handler.service.in_flight)
        assert (await client.post(post, json=ASK, headers={"x-priority": "1"})).status_code == 200
        assert "ai_client_held_bytes 0.0" in (await client.get("/metrics")).text

    run(scene())


def test_bodies_that_never_become_whole_cannot_fill_the_memory(run: Run, tmp_path: Path) -> None:
    """What has not arrived is not admitted yet, and takes memory all the same: it has a bound of its own."""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: test\r\ncontent-length: 1000000\r\n\r\n"
    most = 700_000

    async def scene() -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url, {"daemon": {"max_arriving_mb": 1}})
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                arriving = daemon._servers[0].arriving
                where = (client.base_url.host, client.base_url.port or 0)
                async with dial(where) as first, dial(where) as second:
                    first.send(head + b" " * most)
                    await until(lambda: arriving.size == most)
                    second.send(head + b" " * most)
                    answer = await second.answer()
                    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                    assert b"more bodies are arriving" in answer.body
                    assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
                await until(lambda: not arriving.size)

    run(scene())
