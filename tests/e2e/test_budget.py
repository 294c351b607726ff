"""A budget for the day, from the configuration to the wire and over a restart."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx

from tests.gateway import ASK, Sections, child, error_of, recorder, serving, simulated, write_config
from tests.running import Run

CHAT = "/v1/chat/completions"


def sections(folder: Path, **costs: object) -> dict[str, dict[str, Any]]:
    """Two dollars a million tokens in, ten out; the ledger is in a file."""
    return {
        "model_costs": {"gpt-4.1": "2/10"},
        "costs": {"ledger": folder / "ledger.db", **costs},
    }


def app(token: str, budget: str) -> dict[str, str]:
    return {"token_sha256": hashlib.sha256(token.encode()).hexdigest(), "budget_usd_per_day": budget}


async def spend_all(client: httpx.AsyncClient, **headers: str) -> httpx.Response:
    """Ask until it is refused."""
    for _ in range(1000):
        answer = await client.post(CHAT, json=ASK, headers=headers)
        if answer.status_code != 200:
            return answer
    raise AssertionError("nothing ever refused")


def metric(text: str, line: str) -> float:
    (value,) = [each.rpartition(" ")[2] for each in text.splitlines() if each.startswith(f"ai_client_{line} ")]
    return float(value)


def refused_until_tomorrow(answer: httpx.Response) -> None:
    assert (answer.status_code, error_of(answer)["code"]) == (429, "budget_exceeded")
    assert 0 < int(answer.headers["retry-after"]) <= 25 * 3600


def test_a_budget_ends_the_day_over_a_restart_too(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url, sections(tmp_path, budget_usd_per_day="0.001"))
            async with child(config) as served, httpx.AsyncClient(base_url=served.url, timeout=30) as client:
                refused_until_tomorrow(await spend_all(client))
                asked = simulator.stats()["requests"]
                text = (await client.get("/metrics")).text
                assert metric(text, 'budget_usd{app=""}') == 0.001
                spent = metric(text, 'budget_spent_usd{app=""}')
                assert 0 < spent <= 0.001
                assert metric(text, 'budget_refused_total{app=""}') == 1
            async with child(config) as served, httpx.AsyncClient(base_url=served.url, timeout=30) as client:
                refused_until_tomorrow(await client.post(CHAT, json=ASK))
                assert simulator.stats()["requests"] == asked
                assert metric((await client.get("/metrics")).text, 'budget_spent_usd{app=""}') == spent

    run(scene())


def test_an_app_that_has_spent_its_own_leaves_the_others_theirs(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        wanted: Sections = {**sections(tmp_path), "app a": app("one", "0.0003"), "app b": app("two", "1")}
        async with simulated() as simulator:
            config = write_config(tmp_path, simulator.url, wanted)
            async with serving(config) as (daemon, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
                refused_until_tomorrow(await spend_all(client, authorization="Bearer one"))
                two = {"authorization": "Bearer two"}
                assert (await client.post(CHAT, json=ASK, headers=two)).status_code == 200
                write_config(tmp_path, simulator.url, {**wanted, "app a": app("one", "1")})  # raised, without a restart
                await daemon.reload()
                one = {"authorization": "Bearer one"}
                assert (await client.post(CHAT, json=ASK, headers=one)).status_code == 200

    run(scene())


def test_a_budget_without_a_ledger_is_mentioned(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url, {"costs": {"ledger": "none", "budget_usd_per_day": "1"}})
            async with serving(config):
                pass
        assert "a restart begins every budget anew" in (tmp_path / "logs" / "daemon.log").read_text()

    run(scene())
