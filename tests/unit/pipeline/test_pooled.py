"""Which key an attempt goes with, and what becomes of one that fails."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping

import msgspec
import pytest

from ai_client.config.guard import Guard
from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    BrokenReplyError,
    CircuitOpenError,
    ConnectError,
    ContentPolicyError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitedError,
    UnknownModelError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.limits.adaptive import Adaptive
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Kind
from ai_client.limits.estimate import Habits
from ai_client.limits.gradient import Pace
from ai_client.limits.heed import Heed
from ai_client.limits.pauses import Pauses
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint, Fields
from ai_client.pipeline.limited import Quotas
from ai_client.pipeline.pooled import Pooled, Pools
from ai_client.pipeline.retried import Retried, RetrySettings
from ai_client.routing.breaker import Outcome
from ai_client.routing.health import Health
from ai_client.routing.keypool import KeyPool, Member, Refusals
from ai_client.testing import CaptureSink, FakeClock, reply
from tests.calls import PROMPT, TARGET, make_call
from tests.quotas import limits
from tests.running import Run
from tests.unit.pipeline.stages import Inside

KEYS = ("a", "b", "c")
BUSY = UpstreamStatusError("x", status=429)


class Scene:
    """Three keys, two of them at one place, before a provider that answers each key as it is told."""

    def __init__(
        self, answers: Mapping[str, AIClientError] | None = None, *, allow: bool = True, most: int = 6
    ) -> None:
        self.answers = dict(answers or {})
        self.clock = FakeClock()
        self.asked: list[Attempt] = []
        self.sink = CaptureSink()
        self.heard: list[tuple[str, int, float]] = []
        self.denied: list[str] = []
        self.gates = {f"p.{key}": MemoryLimiter(key, limits(), self.clock) for key in KEYS}
        self.quotas = Quotas(self.gates, {}, [], Habits(), Pauses(self.clock), {})
        self.health = Health(self.clock, random.Random(1))
        self.health.set(Guard(min_calls=1))
        places = {"a": "https://one", "b": "https://one", "c": "https://two"}
        pool = KeyPool([Member(key, 1, places[key], {"m": "m"}) for key in KEYS], random.Random(6))
        self.pools = Pools({"p": pool}, Refusals(self.clock, self._refusal), self.quotas, self.health)
        self.stage = Pooled(self._answer, self.pools, most, self.clock, [self.sink], self._allow)
        self.allow = allow
        self.call: Call = make_call()

    def _refusal(self, key: str, status: int, seconds: float) -> None:
        self.heard.append((key, status, seconds))

    def _allow(self, target: str) -> bool:
        self.denied.append(target)
        return self.allow

    async def _answer(self, attempt: Attempt) -> Reply:
        self.asked.append(attempt)
        error = self.answers.get(attempt.target.member)
        if isinstance(error, RateLimitedError | CircuitOpenError):
            raise error  # by the stages between: it comes to nobody who would count it
        return await Inside(error if error is not None else reply())(attempt)

    async def pass_on(self, attempt: Attempt) -> Reply:
        return await self.stage(attempt)

    async def ask(self, times: int = 1, **fields: object) -> str:
        """Ask, and tell by their letters which keys were."""
        for _ in range(times):
            self.call = make_call(**fields)
            await self.stage(Attempt(self.call, TARGET))
        letters = "".join(attempt.target.member for attempt in self.asked)
        self.asked.clear()
        return letters


def test_keys_take_turns_and_the_record_says_which_it_was(run: Run) -> None:
    scene = Scene()
    letters = run(scene.ask(6))
    assert sorted(letters) == ["a", "a", "b", "b", "c", "c"]
    assert scene.call.record.target == f"p.{letters[-1]}/m"
    assert scene.call.record.attempts == 1
    assert scene.sink.failures == []


@pytest.mark.parametrize(
    "error", [AuthenticationError("x"), UpstreamStatusError("x", status=429, code="insufficient_quota")]
)
def test_a_key_that_is_refused_is_out_and_its_call_goes_on(run: Run, error: AIClientError) -> None:
    scene = Scene({"b": error})
    letters = run(scene.ask(9))
    assert letters.count("b") == 1
    assert len(letters) == 10
    (failed,) = scene.sink.failures
    assert (failed.target, failed.number, failed.status, failed.waits_ns) == ("p.b/m", 1, error.status, 0)
    assert scene.heard == [("p.b", error.status, 60.0)]
    scene.clock.advance(60)
    scene.answers.clear()
    assert run(scene.ask(9)).count("b") == 3
    assert scene.heard[1:] == [("p.b", 200, 0.0)]


@pytest.mark.parametrize("error", [PermissionDeniedError("x"), UnknownModelError("x")])
def test_a_model_is_out_for_a_key_once_another_key_could(run: Run, error: AIClientError) -> None:
    scene = Scene({"b": error})
    assert run(scene.ask(9)).count("b") == 1
    assert scene.heard == [("p.b/m", error.status, 60.0)]


def test_what_every_key_refuses_is_the_request_s_fault(run: Run) -> None:
    scene = Scene(dict.fromkeys(KEYS, PermissionDeniedError("x")))
    with pytest.raises(PermissionDeniedError):
        run(scene.ask())
    assert len(scene.asked) == 3
    assert scene.heard == []
    assert scene.call.record.attempts == 3
    assert len(scene.sink.failures) == 2  # the last is told of by whoever gives up


@pytest.mark.parametrize("error", [BUSY, RateLimitedError("x"), CircuitOpenError("x")])
def test_what_is_the_key_s_own_goes_on_to_any_other(run: Run, error: AIClientError) -> None:
    scene = Scene({"a": error, "b": error})
    assert set(run(scene.ask(3))) == {"a", "b", "c"}
    assert scene.denied == []


@pytest.mark.parametrize(
    "error",
    [
        UpstreamStatusError("x", status=503),
        BrokenReplyError("x"),
        ConnectError("x"),
        UpstreamTimeoutError("x", phase="first_byte"),
    ],
)
def test_what_is_the_place_s_goes_on_to_another_place(run: Run, error: AIClientError) -> None:
    scene = Scene({"a": error, "b": error})
    for _ in range(6):
        assert run(scene.ask()) in ("ac", "bc", "c")
    assert set(scene.denied) == {"p.a/m", "p.b/m"}


def test_not_without_a_retry_budget(run: Run) -> None:
    scene = Scene(dict.fromkeys(KEYS, ConnectError("x")), allow=False)
    with pytest.raises(ConnectError):
        run(scene.ask())
    assert len(scene.asked) == 1


@pytest.mark.parametrize("error", [InvalidRequestError("x"), ContentPolicyError("x")])
def test_what_no_key_can_mend_comes_back(run: Run, error: AIClientError) -> None:
    scene = Scene(dict.fromkeys(KEYS, error))
    with pytest.raises(type(error)):
        run(scene.ask())
    assert len(scene.asked) == 1


def test_what_may_have_been_done_is_not_done_twice(run: Run) -> None:
    scene = Scene(dict.fromkeys(KEYS, BrokenReplyError("x")))
    with pytest.raises(BrokenReplyError):
        run(scene.ask(endpoint=Endpoint.OTHER, method="POST", fields=Fields("m")))
    assert len(scene.asked) == 1


def test_the_call_s_bounds_hold(run: Run) -> None:
    for most, waited, asked in ((2, 0, 2), (6, 0, 3), (6, 61, 1)):
        scene = Scene(dict.fromkeys(KEYS, BUSY), most=most)
        scene.clock.advance(waited)
        with pytest.raises(UpstreamStatusError):
            run(scene.ask())
        assert len(scene.asked) == asked


def test_of_several_failures_the_one_that_is_over_first_is_told(run: Run) -> None:
    scene = Scene(
        {
            "a": UpstreamStatusError("x", status=429, retry_after=20.0),
            "b": UpstreamStatusError("x", status=429, retry_after=5.0),
            "c": AuthenticationError("x"),
        }
    )
    with pytest.raises(UpstreamStatusError) as caught:
        run(scene.ask())
    assert caught.value.retry_after == 5.0
    scene = Scene({"a": AuthenticationError("x"), "b": BUSY, "c": BUSY})
    with pytest.raises(UpstreamStatusError):
        run(scene.ask())


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        ({"a": "ill", "b": "ill", "c": "ill"}, 3),
        ({"a": "short", "b": "short", "c": "short"}, 0),
        ({"a": "ill", "b": "short", "c": "short"}, 1),
        ({"a": "ill", "b": "ill", "c": "short"}, 2),
        ({"a": "short", "b": None, "c": "short"}, 1),
    ],
)
def test_what_never_went_out_is_no_try(run: Run, answers: dict[str, str | None], sent: int) -> None:
    ill = UpstreamStatusError("x", status=429, retry_after=5.0)
    made = {
        key: {"ill": ill, "short": RateLimitedError("x", retry_after=3.0), None: None}[say]
        for key, say in answers.items()
    }
    scene = Scene({key: error for key, error in made.items() if error is not None})
    retried = Retried(scene.stage, RetrySettings(max_retries=0), scene.clock, random.Random(1), [])
    call = make_call()
    with contextlib.suppress(AIClientError):
        run(retried(Attempt(call, TARGET)))
    asked = [each.target.member for each in scene.asked]
    assert call.record.attempts == sum(answers[key] != "short" for key in asked) <= sent
    assert asked


def test_short_paused_and_ill_keys_are_passed_over(run: Run) -> None:
    scene = Scene()
    scene.gates["p.a"].reconfigure(limits(requests=60, burst_seconds=1))
    letters = run(scene.ask(3))
    held = scene.gates["p.a"].try_reserve((1, 1, 0, 1, 0), 5)
    assert held is not None
    assert "a" in letters
    assert set(run(scene.ask(6))) == {"b", "c"}
    scene.quotas.pauses.hear("p.b/m", 10**9)
    assert set(run(scene.ask(6))) == {"c"}
    breaker = scene.health.of("p.c/m", "p.c").breaker
    breaker.settle(breaker.admit(0), Outcome.BAD, 0)
    assert set(run(scene.ask(6))) == {"a"}  # it is merely short: the call waits there
    scene.quotas.pauses.hear("p.a/m", 2 * 10**9)
    assert set(run(scene.ask(6))) == {"b"}  # all are barred: the first to be free again


def test_what_a_provider_said_of_one_key_s_limits_counts(run: Run) -> None:
    scene = Scene()
    heed = Heed(
        scene.clock, scene.gates, lambda name, settings: MemoryLimiter(name, settings, scene.clock), lambda _: None
    )
    heed.learn("p.a", "m", {Kind.REQUESTS: 1}, 0)
    scene.pools = msgspec.structs.replace(scene.pools, quotas=msgspec.structs.replace(scene.quotas, heed=heed))
    scene.stage = Pooled(scene._answer, scene.pools, 6, scene.clock, [], scene._allow)
    gate = heed.find(Target("p", "m", "m", "a"))
    assert gate is not None
    assert gate.try_reserve((1, 1, 0, 1, 0), 5) is not None
    assert set(run(scene.ask(6))) == {"b", "c"}


def test_a_limit_of_places_counts_as_short(run: Run) -> None:
    scene = Scene()
    for key in "ab":
        scene.gates[f"p.{key}"].reconfigure(limits(places=1))
        assert scene.gates[f"p.{key}"].try_reserve((1, 1, 0, 1, 0), 5) is not None
    assert set(run(scene.ask(6))) == {"c"}


def test_a_target_that_has_as_many_as_it_takes_is_passed_over(run: Run) -> None:
    scene = Scene()
    adaptive = Adaptive(scene.clock)
    adaptive.set(Pace(least=1, first=1), limits())
    scene.pools = msgspec.structs.replace(scene.pools, adaptive=adaptive)
    scene.stage = Pooled(scene._answer, scene.pools, 6, scene.clock, [], scene._allow)
    for key in "ab":
        assert adaptive.of(f"p.{key}/m", f"p.{key}").gate.try_reserve((1, 1, 0, 1, 0), 5) is not None
    assert set(run(scene.ask(6))) == {"c"}


def test_what_names_no_model_stays_with_the_first_key(run: Run) -> None:
    scene = Scene({"a": BUSY})
    with pytest.raises(UpstreamStatusError):
        run(scene.pass_on(Attempt(make_call(endpoint=Endpoint.OTHER, fields=Fields("")), Target("p", "", ""))))
    assert [attempt.target.member for attempt in scene.asked] == ["a"]


def test_who_has_one_key_or_has_chosen_passes_untouched(run: Run) -> None:
    scene = Scene()
    for target in (Target("q", "m", "m"), Target("p", "m", "m", "c")):
        attempt = Attempt(make_call(), target)
        run(scene.pass_on(attempt))
        assert scene.asked[-1] is attempt
    assert scene.pools.pick(Attempt(make_call(), Target("q", "m", "m"))) is None


def test_where_there_is_one_key_nothing_is_chosen(run: Run) -> None:
    scene = Scene({"a": AuthenticationError("x")})
    pool = KeyPool([Member("a", 1, "https://one", {"m": "m"})], random.Random(1))
    scene.pools = msgspec.structs.replace(scene.pools, by_provider={"p": pool})
    scene.stage = Pooled(scene._answer, scene.pools, 6, scene.clock, [], scene._allow)
    call = make_call()
    with pytest.raises(AuthenticationError):
        run(scene.pass_on(Attempt(call, TARGET, 2, hedge=True)))
    (attempt,) = scene.asked
    assert (attempt.target.name, attempt.number, attempt.hedge) == ("p.a/m", 2, True)
    assert call.record.target == "p.a/m"
    assert scene.heard == []


def test_a_second_request_stays_one(run: Run) -> None:
    scene = Scene()
    run(scene.pass_on(Attempt(make_call(), TARGET, hedge=True)))
    assert scene.asked[0].hedge


def test_a_prefix_keeps_its_key(run: Run) -> None:
    scene = Scene()
    scene.pools.by_provider["p"].sticky_bytes = 16
    letters = {run(scene.ask(5, body=f"conversation {at:03d}, and what follows {at}".encode())) for at in range(30)}
    assert letters == {"aaaaa", "bbbbb", "ccccc"}


def test_without_limits_and_circuits_keys_take_turns(run: Run) -> None:
    scene = Scene()
    scene.stage = Pooled(
        scene._answer, Pools(scene.pools.by_provider, scene.pools.refusals), 6, scene.clock, [], scene._allow
    )
    assert sorted(run(scene.ask(3, fields=PROMPT))) == ["a", "b", "c"]
    scene.gates.clear()
    assert len(run(Scene().ask(3))) == 3
