"""What every store of a fleet's limits owes, tried on each. Time is in the test's hand, Redis' included."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.backends.store import MemoryStore
from ai_client.limits.lease import WHOLE, Answer, Ask, LeaseStore, Part
from tests.redis_server import VALKEY, RedisServer, need_redis
from tests.running import Run


class Time:
    """The store's clock, in milliseconds."""

    def __init__(self) -> None:
        self.now = 10**12

    def __call__(self) -> int:
        return self.now


class Talk:
    """A store, its clock, and members who remember what they heard."""

    def __init__(self, store: LeaseStore, time: Time) -> None:
        self.store = store
        self.time = time
        self.heard: dict[str, Answer] = {}

    async def ask(
        self, member: str, want: int = 0, least: int = 0, back: int = 0, *, after: int = 0, rate: int = 600, **rest: Any
    ) -> Answer:
        """Ask for so many, `after` so many milliseconds, of ten a second and at most ten at once."""
        self.time.now += after
        last = self.heard.get(member)
        step, share = (last.step, last.share) if last is not None else (0, 0)
        part = Part(rate, 60_000, 10, want, least, back)
        ask = Ask("l", member, (part,), rest.pop("weight", 1), rest.pop("step", step), share, **rest)
        (answer,) = await self.store.exchange([ask])
        self.heard[member] = answer
        return answer

    async def rested(self, *members: str) -> None:
        """A store that is past its beginning, and full."""
        for _ in range(8):
            for member in members:
                await self.ask(member)
            self.time.now += 1000


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    need_redis()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    if VALKEY is None:
        pytest.skip(
            "there is no valkey-server on this machine (Debian has it from 13 on): apt-get install valkey-server"
        )
    with RedisServer(tmp_path_factory.mktemp("valkey"), program=VALKEY) as server:
        yield server


Scenario = Callable[[Talk], Awaitable[None]]
Try = Callable[[Scenario], None]


@pytest.fixture(params=["memory", "redis", "valkey"])
def attempt(request: pytest.FixtureRequest, run: Run) -> Try:
    """Runs a scenario on a fresh store."""
    server = None if request.param == "memory" else request.getfixturevalue(request.param)

    def try_now(scenario: Scenario) -> None:
        async def main() -> None:
            time = Time()
            if server is None:
                await scenario(Talk(MemoryStore(time), time))
                return
            client = connect(server.url)
            await client.flushall()
            store = RedisStore(client, "t", time)
            try:
                await scenario(Talk(store, time))
            finally:
                await store.close()

        run(main())

    return try_now


def test_it_begins_with_nothing_and_waits_for_members_to_report(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        first = await talk.ask("a", 5)
        assert (first.granted, first.members, first.share) == ((0,), 1, 0)
        assert (await talk.ask("a", 5, after=1900)).granted == (0,)
        assert (await talk.ask("a", 5, after=200)).granted == (2,), "from then on it refills"

    attempt(scenario)


def test_it_grants_what_there_is_and_refills_to_its_burst(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        assert (await talk.ask("a", 100)).granted == (10,)
        answer = await talk.ask("a", 3, 1)
        assert (answer.granted, answer.retry) == ((0,), 101)
        assert (await talk.ask("a", 3, 1, after=100)).granted == (1,)
        assert (await talk.ask("a", 3, 3, after=299)).granted == (0,), "not a millisecond too early"
        assert (await talk.ask("a", 3, 3, after=1)).granted == (3,)

    attempt(scenario)


def test_what_is_returned_is_there_again_and_debt_is_paid_first(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        await talk.ask("a", 10)
        assert (await talk.ask("a", 4, 4, back=4)).granted == (4,)
        await talk.ask("a", back=-5)
        assert (await talk.ask("a", 1, 1, after=500)).granted == (0,)
        assert (await talk.ask("a", 1, 1, after=100)).granted == (1,)
        await talk.ask("a", back=1000)
        assert (await talk.ask("a", 100)).granted == (10,), "not above the brim"

    attempt(scenario)


def test_one_larger_than_the_burst_goes_from_a_full_one_into_debt(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        assert (await talk.ask("a", 25, 25)).granted == (25,)
        assert (await talk.ask("a", 1, 1, after=1500)).granted == (0,)
        assert (await talk.ask("a", 1, 1, after=100)).granted == (1,)

    attempt(scenario)


def test_shares_never_add_up_to_more_than_the_whole(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        assert talk.heard["a"].share == WHOLE
        assert (await talk.ask("b")).share == 0, "the first still holds it all"
        assert (await talk.ask("a")).share == WHOLE // 2
        assert (await talk.ask("b")).share == WHOLE // 2
        assert (await talk.ask("c", weight=2)).share == 0
        for _ in range(2):
            for name in "abc":
                await talk.ask(name, weight=2 if name == "c" else 1)
        assert [talk.heard[name].share for name in "abc"] == [WHOLE // 4, WHOLE // 4, WHOLE // 2]
        await talk.ask("c", weight=2, leaving=True)
        assert (await talk.ask("a")).members == 2

    attempt(scenario)


def test_the_silent_keep_their_share_until_it_ends(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a", "b")
        await talk.ask("a", 10, share_ms=20_000)
        for _ in range(12):  # half a second each, of which b is silent
            await talk.ask("a", share_ms=20_000, after=500)
        await talk.ask("a", 100, share_ms=20_000)
        assert (await talk.ask("a", 100, share_ms=20_000, after=1000)).granted == (5,), "half of ten a second"
        for _ in range(30):
            await talk.ask("a", share_ms=20_000, after=500)
        assert talk.heard["a"].members == 1
        await talk.ask("a", 100, share_ms=20_000)
        assert (await talk.ask("a", 100, share_ms=20_000, after=500)).granted == (5,), "now it is the whole"

    attempt(scenario)


def test_a_store_that_lost_steps_gives_nothing_that_was_given_before(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        await talk.ask("a")
        answer = await talk.ask("a", 5, step=talk.heard["a"].step + 3)
        assert answer.granted == (0,)
        assert (await talk.ask("a", 5, after=200)).granted == (2,)

    attempt(scenario)


def test_after_a_wipe_it_refills_as_far_as_members_report(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        talk.heard["a"] = Answer((0,), 7, WHOLE // 4, 4, WHOLE, 0)
        assert (await talk.ask("a", 5)).share == WHOLE // 4
        assert (await talk.ask("a", 9, after=1000)).granted == (2,), "a quarter of ten a second"
        talk.heard["b"] = Answer((0,), 7, WHOLE // 4, 4, WHOLE, 0)
        await talk.ask("b")
        assert (await talk.ask("a", 9, after=800)).granted == (4,), "now a half of it, and what was left"
        await talk.ask("a", 100, after=200)
        assert (await talk.ask("a", 100, after=500)).granted == (5,), "and all of it after the beginning"

    attempt(scenario)


@pytest.mark.parametrize("step", [-60_000, -1])
def test_a_clock_that_is_set_back_refills_nothing_and_goes_on(attempt: Try, step: int) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        await talk.ask("a", 10)
        assert (await talk.ask("a", 5, after=step)).granted == (0,)
        assert (await talk.ask("a", 5, after=200)).granted == (2,)

    attempt(scenario)


def test_new_rates_take_effect_and_what_was_spent_stays_spent(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a")
        await talk.ask("a", 10)
        assert (await talk.ask("a", 5, rate=6000)).granted == (0,)
        assert (await talk.ask("a", 5, rate=6000, after=20)).granted == (2,)

    attempt(scenario)


def test_among_several_each_gets_its_part(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a", "b", "c")
        got = dict.fromkeys("abc", 0)
        for turn in range(300):
            for name in "abc"[turn % 3 :] + "abc"[: turn % 3]:
                weight = 2 if name == "c" else 1
                answer = await talk.ask(name, 20 if name == "a" else 3, 1, weight=weight)
                got[name] += answer.granted[0]
            talk.time.now += 100
        assert sum(got.values()) >= 0.97 * 300
        assert 60 <= got["a"] <= 90
        assert 60 <= got["b"] <= 90
        assert 130 <= got["c"] <= 170

    attempt(scenario)


def test_a_call_of_a_light_app_goes_up_to_four_turns_early(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        await talk.rested("a", "b")
        await talk.ask("a", 10, 1)
        await talk.ask("b", 10, 1)
        for _ in range(50):  # both are short, and have had their parts: a turn of a call is two tenths of a second
            for name in "ab":
                await talk.ask(name, 10, 1, after=50)
        given = 0
        for _ in range(6):
            answer = await talk.ask("a", 10, 1, after=100, light=True)
            assert answer.granted[0] <= 1, "that call, and no more"
            given += answer.granted[0]
            assert (await talk.ask("b", 10, 1)).granted == (0,), "whose turn it is has to leave a quarter of the level"
        assert given >= 4

    attempt(scenario)


@pytest.mark.parametrize("light", [False, True])
def test_something_large_is_saved_up_for(attempt: Try, light: bool) -> None:
    """One asks for nine at a time, the others for one each, a hundred times a second: it is not starved, not even
    where the others say all the time that their calls may go early.
    """

    async def scenario(talk: Talk) -> None:
        await talk.rested("a", "b", "c")
        large = 0
        for _ in range(1000):
            large += (await talk.ask("a", 9, 9)).granted[0]
            await talk.ask("b", 1, 1, light=light)
            await talk.ask("c", 1, 1, light=light)
            talk.time.now += 30
        assert large >= 0.25 * 300

    attempt(scenario)


def test_all_kinds_or_none_and_in_one_proportion(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        requests, tokens = Part(600, 60_000, 10), Part(60_000, 60_000, 1000)

        async def ask(wants: tuple[int, int], least: tuple[int, int]) -> tuple[int, ...]:
            parts = (
                Part(requests.amount, 60_000, 10, wants[0], least[0]),
                Part(tokens.amount, 60_000, 1000, wants[1], least[1]),
            )
            (answer,) = await talk.store.exchange([Ask("two", "a", parts)])
            return answer.granted

        await ask((0, 0), (0, 0))
        for _ in range(4):
            talk.time.now += 1000
            await ask((0, 0), (0, 0))
        assert await ask((8, 2000), (0, 0)) == (4, 1000), "tokens allow for half of it"
        assert await ask((1, 500), (1, 500)) == (0, 0), "a request is there, but no tokens"

    attempt(scenario)


@pytest.mark.parametrize("estimate", [10, 90])
def test_what_comes_back_of_one_rate_pays_for_no_other(attempt: Try, estimate: int) -> None:
    """Two who want all they can get, and spend ten tokens a call: whoever guesses too high gets no more of them."""

    async def scenario(talk: Talk) -> None:
        guess = {"a": estimate, "b": 10}
        got, over = {"a": 0, "b": 0}, {"a": 0, "b": 0}
        for turn in range(1000):
            for member in "ab" if turn % 2 else "ba":
                tokens = guess[member]
                parts = (Part(600, 60_000, 10, 1, 1), Part(60_000, 60_000, 1000, tokens, tokens, over[member]))
                (answer,) = await talk.store.exchange([Ask("two", member, parts)])
                over[member] = 0
                if answer.granted[0]:
                    got[member] += 1
                    over[member] = answer.granted[1] - 10
            talk.time.now += 10
        assert sum(got.values()) >= 0.9 * 10 * 8, "ten a second, but for the two at the beginning"
        assert abs(got["a"] - got["b"]) <= 2

    attempt(scenario)


def test_pauses_are_told_to_everybody_until_they_end(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        part = (Part(600, 60_000, 10),)
        (first,) = await talk.store.exchange([Ask("l", "a", part, pauses=(("p/m", 5000), ("p/é", 100)))])
        assert first.pauses == (("p/m", 5000), ("p/é", 100))
        await talk.store.exchange([Ask("l", "a", part, pauses=(("p/m", 10),))])
        assert (await talk.ask("b", after=1000)).pauses == (("p/m", 4000),)
        assert (await talk.ask("b", after=4000)).pauses == ()

    attempt(scenario)


def test_what_the_provider_says_is_left_lowers_the_level_and_never_raises_it(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        async def told(most: int, want: int = 0) -> tuple[int, ...]:
            (answer,) = await talk.store.exchange([Ask("l", "a", (Part(600, 60_000, 10, want, most=most),))])
            return answer.granted

        await talk.rested("a")
        await told(3)
        assert await told(-1, 100) == (3,)
        assert await told(9, 100) == (0,)

    attempt(scenario)


def test_what_a_provider_told_is_kept_for_its_time(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        assert await talk.store.told("p") is None
        await talk.store.tell("p", b"first", 60_000)
        await talk.store.tell("p", b"words", 60_000)
        assert (await talk.store.told("p"), await talk.store.told("q")) == (b"words", None)

    attempt(scenario)


def test_one_limit_knows_nothing_of_another(attempt: Try) -> None:
    async def scenario(talk: Talk) -> None:
        part = (Part(600, 60_000, 10, 5),)
        await talk.rested("a")
        asks = [Ask("l", "a", part, step=talk.heard["a"].step), Ask("other", "a", part)]
        found = await talk.store.exchange(asks)
        assert [answer.granted for answer in found] == [(5,), (0,)]
        assert await asyncio.wait_for(talk.store.exchange([]), 5) == []

    attempt(scenario)
