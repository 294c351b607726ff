"""The limiters of a process through its reloads, and shared with a fleet."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path

import pytest

from ai_client.clock import SystemClock
from ai_client.config.load import load
from ai_client.config.snapshot import Config
from ai_client.errors import ConfigurationError, RateLimitedError
from ai_client.limits.backends.keeper import Keeper
from ai_client.limits.member import Mode
from ai_client.limits.wanted import quota
from ai_client.model.call import Target
from ai_client.testing import FakeClock
from tests.calls import make_attempt
from tests.gateway import Sections, write_config
from tests.quotas import need, who
from tests.redis_server import RedisServer, need_redis
from tests.running import Run
from tests.wire import until

SECOND = 1_000_000_000
QUOTAS: Sections = {
    "limit money": {"scope": "model", "values": "m", "dollars": "3600/hour, 10/second"},
    "limit users": {"scope": "user", "requests": "10/day", "burst_seconds": 86_400, "max_concurrent": 2},
}


def configured(folder: Path, sections: Sections | None = None) -> Config:
    return load(write_config(folder, "http://127.0.0.1:1/v1", sections), {}).config


def test_what_a_section_comes_down_to(tmp_path: Path) -> None:
    config = configured(tmp_path, QUOTAS)
    money, users = (quota(config, config.quotas[name]) for name in ("money", "users"))
    assert [(each.name, each.amount, each.burst) for each in money.rates] == [
        ("nano_dollars_hour", 3600 * 10**9, 360 * 10**9),
        ("nano_dollars_second", 10 * 10**9, 10 * 10**9),
    ]
    assert [(each.name, each.burst) for each in users.rates] == [("requests_day", 10)]
    assert users.max_concurrent == 2


def test_limits_that_stay_configured_keep_what_was_spent(tmp_path: Path) -> None:
    keeper = Keeper(FakeClock())
    keeper.set(configured(tmp_path, QUOTAS))
    assert [scope.name for scope in keeper.scopes] == ["users", "money"], "the narrowest first"
    money = keeper.scopes[1]
    assert money.find(make_attempt()) is not None
    keeper.set(configured(tmp_path, QUOTAS))
    assert keeper.scopes[1] is money
    keeper.set(configured(tmp_path, {"limit money": {**QUOTAS["limit money"], "dollars": "1/hour"}}))
    assert keeper.scopes[0] is not money
    keeper.set(configured(tmp_path))
    assert keeper.scopes == []


def test_how_they_stand(tmp_path: Path) -> None:
    clock = FakeClock()
    keeper = Keeper(clock)
    keeper.set(configured(tmp_path, {**QUOTAS, "limits": {"requests_per_minute": 60, "tokens_per_minute": 0}}))
    keeper.pauses.ask("p/m", 2.0)
    keeper.pauses.hear("p/n", 0)
    state = keeper.state()
    assert (state["mode"], state["members"], state["share"]) == ("local", 1, 1.0)
    assert state["paused"] == {"p/m": 2.0}
    assert set(state["limits"]) == {"provider:holysheep", "limit:money:m"}
    rate = {"amount": 60, "window_seconds": 60.0, "burst": 1, "available": 1}
    assert state["limits"]["provider:holysheep"]["rates"] == {"requests": rate}
    assert keeper.queues() == {("provider:holysheep", "5"): (0, 0), ("limit:money", "5"): (0, 0)}
    assert keeper.levels() == {("holysheep", "requests"): 1.0}


def test_queues_are_told_by_limit_and_priority(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        clock = FakeClock()
        keeper = Keeper(clock)
        keeper.set(configured(tmp_path, {"limits": {"requests_per_minute": 60, "tokens_per_minute": 0}}))
        gate = keeper.providers["holysheep"]
        held = await gate.reserve(need(1), who(), 0)
        asked = [(5, "a"), (5, "a"), (5, "b"), (2, "batch")]
        calls = [asyncio.create_task(gate.reserve(need(1), who(priority, app), 60 * SECOND)) for priority, app in asked]
        await until(lambda: gate.waiting == 4)
        assert keeper.queues() == {
            ("provider:holysheep", "2"): (1, 4 * SECOND),  # three of a higher priority, and one that came before
            ("provider:holysheep", "5"): (3, 3 * SECOND),
        }
        for each in calls:
            each.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        held.release()
        assert list(keeper.queues().values()) == [(0, 0), (0, 0)], "what waited once is told from then on"
        keeper.providers.clear()
        assert keeper.queues() == {}

    run(scene())


def test_what_a_provider_tells_counts_unless_it_is_switched_off(tmp_path: Path) -> None:
    keeper = Keeper(FakeClock())
    keeper.set(configured(tmp_path, {"limits": {"requests_per_minute": 500}}))
    keeper.heed.hear(Target("holysheep", "m", "m"), [(b"x-ratelimit-limit-requests", b"60")], 0)
    assert keeper.state()["told"]["holysheep/m"]["clamped"] == ["requests"]
    assert keeper.state()["limits"]["told:holysheep"]["rates"]["requests"]["amount"] == 60
    gate = keeper.heed.gates["holysheep"]
    gate.correct((0, 0, 0, 0, 0), need(0, 10))
    with pytest.raises(RateLimitedError, match="the quota of the limit that 'holysheep' told is short"):
        gate._check_patience(need(1), who(), 0, 0)
    keeper.set(configured(tmp_path, {"limits": {"requests_per_minute": 30}}))
    assert list(keeper.heed) == []
    keeper.set(configured(tmp_path, {"limits": {"heed_providers": "no"}}))
    assert keeper.state()["told"] == {}


def test_messages_name_the_limit(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        keeper = Keeper(FakeClock())
        keeper.set(configured(tmp_path, QUOTAS))
        money = keeper.scopes[1].find(make_attempt())
        assert money is not None
        await money.reserve((0, 0, 0, 0, 10**15), who(), 0)
        with pytest.raises(RateLimitedError, match="the quota of the limit 'money' for 'm' is short"):
            await money.reserve((0, 0, 0, 0, 1), who(), 0)

    run(scene())


def test_nodes_that_share_a_server_share_the_limit(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        modes: list[Mode] = []
        fleet = {"backend": "redis", "redis_url": server.url}
        sections: Sections = {"fleet": fleet, "limits": {"requests_per_minute": 6000, "tokens_per_minute": 0}}
        clock = SystemClock()
        keepers = [Keeper(clock) for _ in range(2)]
        for at, keeper in enumerate(keepers):
            keeper.share(configured(tmp_path, sections), f"n{at}", lambda mode, _: modes.append(mode))
            keeper.set(configured(tmp_path, sections))
        gates = [keeper.providers["holysheep"] for keeper in keepers]
        for gate in gates:
            (await gate.reserve(need(1), who(), clock.monotonic_ns() + 20 * SECOND)).release()
        while not all(keeper.state()["members"] == 2 for keeper in keepers):
            (await gates[0].reserve(need(1), who(), clock.monotonic_ns() + 20 * SECOND)).release()
        keepers[0].pauses.ask("holysheep/m", 60.0)
        while not keepers[1].pauses.until:
            (await gates[1].reserve(need(1), who(), clock.monotonic_ns() + 20 * SECOND)).release()
        assert modes == [Mode.SHARED, Mode.SHARED]
        assert keepers[0].state()["mode"] == "shared"
        await asyncio.gather(*(keeper.close() for keeper in keepers))

    need_redis()
    with RedisServer(tmp_path) as server:
        run(scene())


def test_places_are_the_fleet_s_where_there_is_one(run: Run, tmp_path: Path) -> None:
    limit = {"limit calls": {"scope": "model", "values": "m, n", "max_concurrent": 9, "max_concurrent_fleet": 4}}

    async def scene() -> None:
        keeper = Keeper(FakeClock())
        keeper.set(configured(tmp_path, limit))
        found = keeper.state()
        assert (found["places"], found["limits"]["limit:calls:m"]["max_concurrent"]) == ("local", 4)
        assert found["limits"]["limit:calls:m"]["fleet_concurrent"] == 4
        fleet = {"backend": "redis", "redis_url": server.url}
        sections: Sections = {**limit, "fleet": fleet}
        clock = SystemClock()
        keepers = [Keeper(clock) for _ in range(2)]
        for at, each in enumerate(keepers):
            each.share(configured(tmp_path, sections), f"n{at}", lambda mode, why: None)
            each.set(configured(tmp_path, sections))
        held = []
        for at in range(4):
            gate = keepers[at % 2].scopes[0].by_value["m"]
            held.append(await gate.reserve(need(1), who(), clock.monotonic_ns() + 20 * SECOND))
        first, second = (each.scopes[0].by_value["m"] for each in keepers)
        waiting = asyncio.create_task(first.reserve(need(1), who(), clock.monotonic_ns() + 20 * SECOND))
        await until(lambda: first.waiting == 1)
        assert (first.running, second.running) == (2, 2)
        held.pop().release()
        held.append(await waiting)
        assert (first.running, second.running) == (3, 1)
        assert keepers[0].state()["places"] == "shared"
        adaptive: Sections = {**sections, "adaptive": {"enabled": "yes", "initial_concurrent": 2}}
        for each in keepers:
            each.set(configured(tmp_path, adaptive))
        targets = [each.adaptive.of("holysheep/m", "holysheep") for each in keepers]
        late = clock.monotonic_ns() + 20 * SECOND
        held += [await target.gate.reserve(need(1), who(), late) for target in targets]
        assert [target.gate.places for target in targets] == [1, 1]
        keepers[0].set(configured(tmp_path, {"fleet": fleet}))
        assert keepers[0].crew is not None
        assert set(keepers[0].crew.berths) == {"target:holysheep/m"}  # until it has been idle for a while
        for reservation in held:
            reservation.release()
        await asyncio.gather(*(each.close() for each in keepers))

    need_redis()
    with RedisServer(tmp_path) as server:
        run(scene())


def test_without_the_client_for_redis_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name="redis")

    monkeypatch.setattr(importlib, "import_module", missing)
    sections: Sections = {"fleet": {"backend": "redis", "redis_url": "redis://h:1"}}
    with pytest.raises(ConfigurationError, match=r"redis is not installed: pip install 'ai-client\[fleet\]'"):
        Keeper(FakeClock()).share(configured(tmp_path, sections), "n", lambda mode, why: None)
