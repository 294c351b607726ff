"""From a configuration to objects: what is chosen when, and what outlives a reload."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from ai_client.build import build
from ai_client.client import AsyncAIClient
from ai_client.config.load import load
from ai_client.errors import InvalidRequestError
from ai_client.lasting import open_library
from tests.gateway import ASK, HELLO, configured, opened, recorder, serving, simulated, write_config
from tests.quotas import need
from tests.running import Run


def test_what_a_local_client_spends_is_entered_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene() -> None:
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url, {"costs": {"ledger": tmp_path / "ledger.db"}})
            monkeypatch.setenv("AI_CLIENT_CONFIG", str(config))
            async with (
                serving(config, f"unix:{tmp_path / 's'}"),
                AsyncAIClient.local(f"unix:{tmp_path / 's'}") as client,
            ):
                await client.chat_completion(HELLO, "gpt-4.1")
        rows = open_library(load(config, {}).config).ledger.read("0000-00-00", "9999-99-99")
        assert sum(row.calls for row in rows) == 1

    run(scene())


def test_limits_stay_as_full_as_they_are_over_a_reload(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        limits: dict[str, dict[str, object]] = {
            "limits": {"requests_per_minute": 1, "burst_seconds": 60, "max_wait": 0},
            "app web": {"token_sha256": "0" * 64, "requests_per_minute": 5},
        }
        async with opened(tmp_path, limits) as shared:
            build(configured(tmp_path, limits), shared)
            limiter = shared.quota.providers["holysheep"]
            assert set(shared.quota.apps) == {"web"}
            spent = 0
            while (reservation := limiter.try_reserve(need(1), 5)) is not None:
                reservation.release()
                spent += 1
            assert 1 <= spent < 5
            build(configured(tmp_path, {"limits": {**limits["limits"], "max_queue": 7}}), shared)
            assert shared.quota.providers["holysheep"] is limiter
            assert limiter.try_reserve(need(1), 5) is None
            assert shared.quota.apps == {}

    run(scene())


def test_a_model_without_a_price_is_told_of_once(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            upstream.answer = (
                b'{"choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 5}}'
            )
            config = write_config(tmp_path, upstream.url, {"api": {"models": "*"}})
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as client:
                for model in ("new-model", "new-model", "other-model"):
                    answer = await client.post("/v1/chat/completions", json={**ASK, "model": model})
                    assert "x-ai-client-cost-usd" not in answer.headers
        lines = [json.loads(line) for line in (tmp_path / "logs" / "daemon.log").read_text().splitlines()]
        warned = [line["model"] for line in lines if line["event"] == "unknown_price"]
        assert warned == ["new-model", "other-model"]

    run(scene())


def test_or_refused(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            sections = {"api": {"models": "*"}, "costs": {"unknown_price": "refuse"}}
            async with AsyncAIClient(config=write_config(tmp_path, upstream.url, sections)) as client:
                with pytest.raises(InvalidRequestError, match="has no price"):
                    await client.chat_completion(HELLO, "new-model")
                assert upstream.requests == []
                await client.chat_completion(HELLO, "gpt-4.1")

    run(scene())


def test_answers_of_another_configuration_are_not_given(run: Run, tmp_path: Path) -> None:
    """After an alias points elsewhere, what was kept under it is not given any more."""

    async def scene() -> None:
        async with simulated() as simulator:
            caching = {"caching": {"enabled": "true", "persistent": "no"}}
            config = write_config(tmp_path, simulator.url, {**caching, "routing": {"aliases": "fast: gpt-4.1"}})
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:

                async def ask() -> tuple[str, str]:
                    answer = await client.post("/v1/chat/completions", json={**ASK, "model": "fast"})
                    return answer.json()["model"], answer.headers["x-ai-client-cache"]

                assert [await ask(), await ask()] == [("gpt-4.1", "miss"), ("gpt-4.1", "hit")]
                write_config(tmp_path, simulator.url, {**caching, "routing": {"aliases": "fast: deepseek-v3.2"}})
                await daemon.reload()
                assert await ask() == ("deepseek-v3.2", "miss")

    run(scene())


def test_equal_calls_share_one(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url, {"caching": {"enabled": "true", "persistent": "no"}})
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as client:
                answers = await asyncio.gather(*(client.post("/v1/chat/completions", json=ASK) for _ in range(5)))
                told = sorted(answer.headers["x-ai-client-cache"] for answer in answers)
                assert told.count("miss") == 1
                assert set(told) <= {"miss", "hit", "coalesced"}
                assert len(upstream.requests) == 1

    run(scene())
