"""The same target again: how often, after how long, and when not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    BrokenReplyError,
    ConnectError,
    InvalidRequestError,
    RateLimitedError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.model.call import Call
from ai_client.model.request import Endpoint
from ai_client.pipeline.retried import Retried, RetrySettings
from ai_client.testing import CaptureSink, FakeClock, reply
from ai_client.testing.provider import Line
from tests.calls import make_attempt, make_call, make_record
from tests.unit.pipeline.stages import Inside
from tests.virtual import run_virtually

SECOND = 1_000_000_000
DOWN = UpstreamStatusError("down", status=503)
BUSY = UpstreamStatusError("busy", status=429)


class Highest(random.Random):
    """Draws the highest number there is: the longest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Trial:
    """One attempt through the stage, in virtual time."""

    def __init__(
        self, *script: Line, call: Call | None = None, rng: random.Random | None = None, **settings: float
    ) -> None:
        self.inside = Inside(*script)
        self.sink = CaptureSink()
        self.call = call or make_call()
        self.error: AIClientError | None = None
        self.body = b""
        self.seconds = 0.0
        self._rng = rng or Highest()
        self._settings = RetrySettings(**settings)  # type: ignore[arg-type]
        run_virtually(self._run)

    async def _run(self, clock: FakeClock) -> None:
        stage = Retried(self.inside, self._settings, clock, self._rng, [self.sink])
        try:
            self.body = (await stage(make_attempt(self.call))).body
        except AIClientError as error:
            self.error = error
        self.seconds = clock.monotonic_ns() / SECOND

    @property
    def tries(self) -> int:
        return len(self.inside.attempts)


def after(seconds: float) -> UpstreamStatusError:
    return UpstreamStatusError("busy", status=429, retry_after=seconds)


def test_a_success_is_not_repeated() -> None:
    trial = Trial(reply(b"1"))
    assert (trial.body, trial.tries, trial.seconds) == (b"1", 1, 0)
    assert (trial.call.record.attempts, trial.call.record.target) == (1, "p/m")
    assert trial.sink.failures == []


def test_it_tries_again_after_longer_and_longer_waits() -> None:
    trial = Trial(BUSY, BUSY, BUSY, reply(b"4"))
    assert (trial.body, trial.tries) == (b"4", 4)
    assert trial.seconds == pytest.approx(0.5 + 1 + 2, abs=1e-6)
    assert [attempt.number for attempt in trial.inside.attempts] == [1, 2, 3, 4]
    assert [failure.waits_ns for failure in trial.sink.failures] == [SECOND // 2, SECOND, 2 * SECOND]
    first = trial.sink.failures[0]
    assert (first.request_id, first.target, first.number, first.code, first.status, first.message) == (
        "r1",
        "p/m",
        1,
        "upstream_error",
        429,
        "busy",
    )


def test_the_wait_is_bounded() -> None:
    trial = Trial(BUSY, BUSY, BUSY, reply(), base_delay=10.0, max_delay=15.0)
    assert trial.seconds == pytest.approx(10 + 15 + 15, abs=1e-6)


def test_the_jitter_is_drawn_from_the_generator_that_was_given() -> None:
    drawn = random.Random(7)
    expected = sum(max(0.25, drawn.uniform(0, longest)) for longest in (0.5, 1.0, 2.0))
    assert Trial(BUSY, BUSY, BUSY, reply(), rng=random.Random(7)).seconds == pytest.approx(expected, abs=1e-6)


def test_after_the_last_try_the_last_error_is_the_answer() -> None:
    last = BrokenReplyError("the last")
    trial = Trial(BUSY, BUSY, last, max_retries=2)
    assert (trial.error, trial.tries) == (last, 3)
    assert trial.sink.failures[-1].waits_ns == -1


def test_without_retries_there_is_one_try() -> None:
    assert Trial(DOWN, max_retries=0).tries == 1


def test_the_budget_is_of_the_call_over_all_its_targets() -> None:
    trial = Trial(BUSY, call=make_call(record=make_record(attempts=4)), max_retries=5, max_attempts=6)
    assert trial.tries == 2
    assert trial.call.record.attempts == 6


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("x"),
        AuthenticationError("x"),
        UpstreamStatusError("x", status=501),
        UpstreamTimeoutError("it was silent for a whole time-out", phase="first_byte"),
        UpstreamTimeoutError("the same", phase="connect"),
        UpstreamStatusError("no money", status=429, code="insufficient_quota"),
        RateLimitedError("our own limiter has waited long enough", retry_after=0.1),
    ],
    ids=repr,
)
def test_what_another_try_cannot_help_is_not_tried_again(error: AIClientError) -> None:
    trial = Trial(error)
    assert (trial.error, trial.tries, trial.seconds) == (error, 1, 0)
    assert [failure.waits_ns for failure in trial.sink.failures] == [-1]


def test_an_error_without_a_code_is_told_by_its_type() -> None:
    assert Trial(AIClientError("x")).sink.failures[0].code == "api_error"


@pytest.mark.parametrize("make", [lambda: ConnectError("x"), lambda: BrokenReplyError("x"), lambda: DOWN])
def test_what_went_wrong_with_the_provider_is_tried_once_more(make: Callable[[], AIClientError]) -> None:
    assert Trial(make(), reply()).tries == 2
    assert Trial(make(), make(), reply()).tries == 2


def test_a_busy_provider_is_never_asked_again_at_once() -> None:
    class Lowest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return a

    assert Trial(BUSY, reply(), rng=Lowest()).seconds == pytest.approx(0.25, abs=1e-6)


def test_no_three_seconds_hold_more_than_four_tries() -> None:
    trial = Trial(*[after(0)] * 6, reply(), base_delay=0.0, max_retries=9, max_attempts=9)
    assert trial.tries == 7
    assert trial.seconds == pytest.approx(9, abs=1e-6)


def test_what_the_provider_asks_for_is_honoured_and_spread() -> None:
    assert Trial(after(3), reply()).seconds == pytest.approx(3.5, abs=1e-6)
    assert Trial(after(0), reply()).seconds == pytest.approx(0.5, abs=1e-6)
    assert 3 <= Trial(after(3), reply(), rng=random.Random(1)).seconds <= 3.5
    trial = Trial(after(3), after(3), after(3), reply(), base_delay=1.0)
    assert trial.seconds == pytest.approx(12, abs=1e-6), "spread by at most base_delay"


def test_it_does_not_wait_longer_than_max_delay_whatever_it_is_asked() -> None:
    assert Trial(after(30), reply(), max_delay=30.0).tries == 2
    trial = Trial(after(30.001), reply(), max_delay=30.0)
    assert (trial.tries, trial.seconds) == (1, 0)


@pytest.mark.parametrize(("deadline", "tries"), [(0.4, 1), (0.5, 1), (0.6, 2), (1.6, 3)])
def test_no_wait_goes_beyond_the_deadline(deadline: float, tries: int) -> None:
    trial = Trial(BUSY, call=make_call(deadline_ns=int(deadline * SECOND)))
    assert trial.tries == tries
    assert trial.seconds <= deadline


@pytest.mark.parametrize(
    ("method", "error", "tries"),
    [
        ("POST", BrokenReplyError("x"), 1),
        ("POST", DOWN, 1),
        ("POST", UpstreamTimeoutError("x", phase="first_byte"), 1),
        ("DELETE", DOWN, 1),
        ("POST", BUSY, 4),
        ("POST", ConnectError("x"), 2),
        ("GET", DOWN, 2),
        ("HEAD", DOWN, 2),
    ],
)
def test_what_was_sent_and_is_not_ours_to_repeat_is_not(method: str, error: UpstreamError, tries: int) -> None:
    call = make_call(endpoint=Endpoint.OTHER, method=method, path="/files")
    assert Trial(error, call=call).tries == tries


def test_a_call_that_is_given_up_while_it_waits_is_over() -> None:
    async def scenario(clock: FakeClock) -> None:
        inside = Inside(DOWN)
        stage = Retried(inside, RetrySettings(), clock, Highest(), [])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(stage(make_attempt()), 0.2)
        assert len(inside.attempts) == 1

    run_virtually(scenario)


def test_a_retry_that_its_target_s_budget_does_not_allow_is_none() -> None:
    asked: list[str] = []

    def allow(target: str) -> bool:
        asked.append(target)
        return len(asked) < 2

    async def scenario(clock: FakeClock) -> None:
        inside = Inside(BUSY)
        with pytest.raises(UpstreamStatusError):
            await Retried(inside, RetrySettings(), clock, Highest(), [], allow)(make_attempt())
        assert (len(inside.attempts), asked) == (2, ["p/m", "p/m"])

    run_virtually(scenario)
