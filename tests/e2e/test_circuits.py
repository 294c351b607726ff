"""A provider that fails is left alone: seen from a program, from the provider, and from whoever looks after both."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.gateway import ASK, Sections, error_of, gateway, recorder, serving, simulated, write_config
from tests.running import Run

GUARD: Sections = {"guard": {"min_calls": 4, "open_seconds": 600, "max_open_seconds": 600}}


def test_a_provider_that_is_down_is_asked_no_more(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, "status:503", sections=GUARD) as (simulator, client):
            for _ in range(4):
                assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 503
            answer = await client.post("/v1/chat/completions", json=ASK)
            assert (answer.status_code, error_of(answer)["code"]) == (503, "circuit_open")
            assert 450 <= int(answer.headers["retry-after"]) <= 600
            assert answer.headers["x-ai-client-attempts"] == "0"  # nobody was asked
            assert simulator.stats()["requests"] == 4
            assert (await client.get("/health/ready")).json()["circuits"] == {"holysheep/gpt-4.1": "open"}
            shown = (await client.get("/metrics")).text
            for line in ("circuit_state", "circuit_opened_total", "circuit_refused_total"):
                value = "2.0" if line == "circuit_state" else "1.0"
                assert f'ai_client_{line}{{target="holysheep/gpt-4.1"}} {value}' in shown
        lines = [json.loads(line) for line in (tmp_path / "logs" / "daemon.log").read_text().splitlines()]
        (told,) = [line for line in lines if line["event"] == "circuit"]
        assert (told["level"], told["target"], told["state"]) == ("WARNING", "holysheep/gpt-4.1", "open")
        assert (told["calls"], told["failed"], told["slow"]) == (4, 4, 0)

    run(scene())


def test_the_next_target_is_asked_at_once_and_a_reload_forgets_nothing(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated("status:500") as ill, recorder() as well:
            sections = {**GUARD, "provider other": {"base_url": well.url, "models": "gpt-4.1", "api_key": "other"}}
            config = write_config(tmp_path, ill.url, sections)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url) as client:
                for _ in range(6):
                    assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
                await daemon.reload()
                assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200
            assert (ill.stats()["requests"], len(well.requests)) == (4, 7)

    run(scene())


def test_an_outage_does_not_multiply_the_load(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections: Sections = {
            "api": {"max_retries": 3},
            "routing": {"retry_base_delay": 0, "retry_max_delay": 0},
            "guard": {"min_calls": 1000, "retry_floor": 2},
        }
        async with gateway(tmp_path, "status:503", sections=sections) as (simulator, client):
            for _ in range(40):
                assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 503
            requests = simulator.stats()["requests"]
            assert 40 < requests <= 40 + 40 * 0.2 + 2
            assert 'ai_client_retries_denied_total{target="holysheep/gpt-4.1"}' in (await client.get("/metrics")).text

    run(scene())


def test_off_is_off(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections: Sections = {"guard": {"enabled": "no", "min_calls": 1}}
        async with gateway(tmp_path, "status:503", sections=sections) as (simulator, client):
            for _ in range(5):
                assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 503
            assert simulator.stats()["requests"] == 5
            assert (await client.get("/health/ready")).json()["circuits"] == {}

    run(scene())
