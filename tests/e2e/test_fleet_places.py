"""Two daemons, one number of places: kept by both, and one that is killed leaves no place taken for good."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx

from tests.gateway import ASK, COMMAND, Sections, simulated, write_config
from tests.redis_server import RedisServer, need_redis
from tests.running import Run
from tests.wire import until


async def daemon(config: Path, node: str) -> tuple[asyncio.subprocess.Process, str]:
    """A daemon in a process of its own, that a test may kill."""
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", str(config), "--listen", "127.0.0.1:0"),
        env={**os.environ, "AI_CLIENT_FLEET__NODE_NAME": node},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    said = (await process.stderr.readline()).decode()
    return process, "http://" + said.strip().removeprefix("ai-client serves on ")


def test_places_of_a_fleet_are_kept_and_come_back_from_the_dead(run: Run, tmp_path: Path) -> None:
    async def ask(url: str, client: httpx.AsyncClient, times: int) -> list[int]:
        answers = await asyncio.gather(
            *(client.post(f"{url}/v1/chat/completions", json=ASK) for _ in range(times)), return_exceptions=True
        )
        return [0 if isinstance(each, BaseException) else each.status_code for each in answers]

    async def scene() -> None:
        async with simulated(latency_ms=30) as upstream, httpx.AsyncClient(timeout=60) as client:
            sections: Sections = {
                "fleet": {"backend": "redis", "redis_url": server.url, "lease_seconds": 1},
                "limit calls": {"scope": "provider", "values": "holysheep", "max_concurrent_fleet": 4},
            }
            config = write_config(tmp_path, upstream.url, sections)
            (first, here), (second, there) = await asyncio.gather(daemon(config, "one"), daemon(config, "two"))
            answers = await asyncio.gather(ask(here, client, 16), ask(there, client, 16))
            assert [set(each) for each in answers] == [{200}, {200}]
            assert upstream.stats()["max_in_flight"] == 4
            doomed = asyncio.create_task(ask(there, client, 16))
            await until(lambda: upstream.stats()["in_flight"] > 0)
            second.send_signal(signal.SIGKILL)
            assert set(await ask(here, client, 16)) == {200}
            assert 0 in await doomed
            assert upstream.stats()["max_in_flight"] <= 4
            limit = (await client.get(f"{here}/health/limits")).json()
            assert limit["places"] == "shared"
            assert limit["limits"]["limit:calls:holysheep"]["fleet_concurrent"] == 4
            first.terminate()
            for process in (first, second):
                assert process.stderr is not None
                await process.stderr.read()
                await process.wait()

    need_redis()
    with RedisServer(tmp_path) as server:
        run(scene())
