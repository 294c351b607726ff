"""Several keys of one provider, through a daemon: quota of all of them, and none that is missed when it is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import httpx

from tests.gateway import ASK, KEY, MODELS, Sections, recorder, serving, simulated, write_config
from tests.running import Run

SECOND = f"{KEY}_second"
THIRD = f"{KEY}_third"
KEYS: Sections = {"key b": {"api_key": SECOND}, "key c": {"api_key": THIRD}}


async def ask(client: httpx.AsyncClient, times: int) -> Counter[str]:
    """Ask at once; count by target, or by status where that is not 200."""
    answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=ASK) for _ in range(times)))
    return Counter(
        answer.headers["x-ai-client-target"] if answer.status_code == 200 else str(answer.status_code)
        for answer in answers
    )


def test_the_quota_of_all_keys_is_spent_and_no_more(run: Run, tmp_path: Path) -> None:
    """A provider that grants each key 60 a minute, ten at once: three keys answer thirty calls without a 429."""

    async def scene() -> None:
        async with simulated(rpm=60, burst_seconds=10, keys=(KEY, SECOND, THIRD)) as upstream:
            limits: Sections = {"limits": {"requests_per_minute": 60, "burst_seconds": 10, "max_wait": 0}}
            config = write_config(tmp_path, upstream.url, {**KEYS, **limits})
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
                found = await ask(client, 32)
                assert found["429"] == 2
                assert {found[f"holysheep{name}/gpt-4.1"] for name in ("", ".b", ".c")} == {10}
            assert upstream.stats()["requests"] == 30

    run(scene())


def test_a_key_that_is_refused_leaves_the_pool_until_it_is_replaced(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated(keys=(KEY, THIRD)) as upstream:
            config = write_config(tmp_path, upstream.url, KEYS)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
                found = Counter[str]()
                for _ in range(12):
                    found += await ask(client, 1)
                assert found == {"holysheep/gpt-4.1": 6, "holysheep.c/gpt-4.1": 6}
                ready = (await client.get("/health/ready")).json()
                assert set(ready["providers"]) == {"holysheep", "holysheep.b", "holysheep.c"}
                assert 0 < ready["refused_keys"]["holysheep.b"] <= 60
                metrics = (await client.get("/metrics")).text
                assert 'ai_client_key_refused{key="holysheep.b"} 1.0' in metrics
                failures = 'ai_client_attempt_failures_total{code="invalid_api_key",target="holysheep.b/gpt-4.1"} 1.0'
                assert failures in metrics
                assert upstream.stats()["requests"] == 13
                write_config(tmp_path, upstream.url, {"key c": {"api_key": THIRD}})
                await daemon.reload()
                assert (await client.get("/health/ready")).json()["refused_keys"] == {}
        written = (tmp_path / "logs" / "daemon.log").read_text() + (tmp_path / "logs" / "calls.log").read_text()
        lines = [json.loads(line) for line in written.splitlines()]
        (told,) = [line for line in lines if line["event"] == "key_refused"]
        assert (told["level"], told["key"], told["status"], told["left_out_seconds"]) == (
            "ERROR",
            "holysheep.b",
            401,
            60.0,
        )
        (failed,) = [line for line in lines if line["event"] == "attempt_failed"]
        assert (failed["target"], failed["error"], failed["retry_in_ms"]) == (
            "holysheep.b/gpt-4.1",
            "invalid_api_key",
            0.0,
        )
        assert {line["target"] for line in lines if line["event"] == "call"} == {
            "holysheep/gpt-4.1",
            "holysheep.c/gpt-4.1",
        }
        assert KEY not in written

    run(scene())


def test_a_429_goes_to_the_next_key_and_the_paused_one_is_left_alone(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as busy, recorder() as well:
            busy.status, busy.headers = 429, [*busy.headers, (b"retry-after", b"20")]
            config = write_config(tmp_path, busy.url, {"key b": {"api_key": SECOND, "base_url": well.url}})
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
                for _ in range(6):
                    assert await ask(client, 1) == {"holysheep.b/gpt-4.1": 1}
                files = await client.get("/v1/files")  # what names no model stays with the first key
                assert files.status_code == 429
            asked = Counter(request.path for request in busy.requests)
            assert asked == {"/v1/chat/completions": 1, "/v1/files": 1}
            assert {request.header(b"authorization") for request in well.requests} == {f"Bearer {SECOND}".encode()}

    run(scene())


def test_another_region_under_another_name(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as here, recorder() as there:
            here.status = 503
            models = ", ".join(f"{model}=deployment-{model}" for model in MODELS.split(", "))
            config = write_config(
                tmp_path, here.url, {"key eu": {"api_key": SECOND, "base_url": there.url, "models": models}}
            )
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
                for _ in range(4):
                    assert await ask(client, 1) == {"holysheep.eu/gpt-4.1": 1}
            assert {json.loads(request.body)["model"] for request in there.requests} == {"deployment-gpt-4.1"}
            assert {json.loads(request.body)["model"] for request in here.requests} == {"gpt-4.1"}

    run(scene())


def test_a_key_s_concurrency_is_found_out_and_seen(run: Run, tmp_path: Path) -> None:
    """The 429s of a target cut what may be under way there, and health and metrics say so."""

    async def scene() -> None:
        async with recorder() as upstream:
            adaptive: Sections = {"adaptive": {"enabled": "yes", "initial_concurrent": 8}}
            config = write_config(tmp_path, upstream.url, adaptive)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
                assert await ask(client, 1) == {"holysheep/gpt-4.1": 1}
                upstream.status = 429
                assert await ask(client, 1) == {"429": 1}
                limit = (await client.get("/health/limits")).json()["limits"]["target:holysheep/gpt-4.1"]
                assert limit == {"rates": {}, "running": 0, "max_concurrent": 4, "waiting": 0}
                metrics = (await client.get("/metrics")).text
                for name, value in (("limit", 4), ("cuts_total", 1)):
                    assert f'ai_client_concurrency_{name}{{target="holysheep/gpt-4.1"}} {value}.0' in metrics
                assert 'ai_client_concurrency{target="holysheep/gpt-4.1"} 0.0' in metrics
                write_config(tmp_path, upstream.url)
                await daemon.reload()
                assert "target:holysheep/gpt-4.1" not in (await client.get("/health/limits")).json()["limits"]

    run(scene())
