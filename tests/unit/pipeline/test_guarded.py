"""What is the target's fault, and what it leads to."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from ai_client.config.guard import Guard
from ai_client.errors import (
    AuthenticationError,
    BrokenReplyError,
    CircuitOpenError,
    ConnectError,
    ContextLengthError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply
from ai_client.pipeline.guarded import Guarded
from ai_client.routing.breaker import Breaker, State
from ai_client.routing.health import Health
from ai_client.testing import FakeClock, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import TARGET, make_attempt
from tests.running import Run
from tests.unit.pipeline.stages import Inside, read, stream_of

FAULTS = [
    ConnectError("x"),
    BrokenReplyError("x"),
    UpstreamTimeoutError("x", phase="connect"),
    UpstreamTimeoutError("x", phase="first_byte"),
    UpstreamTimeoutError("x", phase="first_token"),
    UpstreamTimeoutError("x", phase="idle"),
    UpstreamStatusError("x", status=500),
    UpstreamStatusError("x", status=529),
]
NOT_ITS_FAULT = [
    UpstreamStatusError("x", status=429),
    UpstreamStatusError("x", status=404),
    UpstreamStatusError("x", status=501),
    UpstreamTimeoutError("x", phase="total"),
    RateLimitedError("x"),
    OverloadedError("x"),
    InvalidRequestError("x"),
    ContextLengthError("x"),
    AuthenticationError("x"),
    DeadlineExceededError("x"),
    asyncio.CancelledError(),
    ValueError("a defect of ours"),
]


class Scene:
    """The stage before a script, and the one target's circuit."""

    def __init__(self, *script: Line, **settings: float) -> None:
        self.clock = FakeClock()
        self.inside = Inside(*script)
        self.health = Health(self.clock, random.Random(1))
        self.health.set(Guard(**{"min_calls": 4, "probes": 1, **settings}))  # type: ignore[arg-type]
        self.stage = Guarded(self.inside, self.health, self.clock)

    async def ask(self, times: int = 1, attempt: Attempt | None = None) -> None:
        for _ in range(times):
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await self.stage(attempt or make_attempt())

    @property
    def breaker(self) -> Breaker:
        return self.health.of(TARGET.name, TARGET.provider).breaker


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_what_is_the_target_s_fault_opens_its_circuit(run: Run, error: Exception) -> None:
    scene = Scene(error)
    run(scene.ask(4))
    assert scene.breaker.state is State.OPEN


@pytest.mark.parametrize("error", NOT_ITS_FAULT, ids=repr)
def test_what_is_not_does_not(run: Run, error: BaseException) -> None:
    scene = Scene(error)
    run(scene.ask(50))
    assert (scene.breaker.state, scene.breaker.counts, len(scene.inside.attempts)) == (State.CLOSED, (0, 0, 0), 50)


@pytest.mark.parametrize("error", NOT_ITS_FAULT, ids=repr)
def test_a_probe_that_says_nothing_gives_its_place_back(run: Run, error: BaseException) -> None:
    scene = Scene(*[ConnectError("down")] * 4, error, reply())
    run(scene.ask(4))
    scene.clock.advance(10)
    run(scene.ask())
    assert scene.health.states() == {"p/m": "half_open"}
    run(scene.ask())
    assert scene.health.states() == {"p/m": "closed"}


def test_an_open_circuit_refuses_without_a_send_and_says_until_when(run: Run) -> None:
    scene = Scene(ConnectError("down"))
    run(scene.ask(4))
    with pytest.raises(CircuitOpenError, match="p/m failed too often") as caught:
        run(scene.stage(make_attempt()))
    assert caught.value.retry_after == pytest.approx(scene.breaker.retry_after_ns(0) / 1e9)
    assert (caught.value.status, caught.value.code, caught.value.retryable) == (503, "circuit_open", True)
    assert len(scene.inside.attempts) == 4


def test_answers_are_counted(run: Run) -> None:
    scene = Scene(reply())
    run(scene.ask(3))
    assert scene.breaker.counts == (3, 0, 0)


def test_a_stream_counts_at_its_end(run: Run) -> None:
    scene = Scene(streamed(b"a"), streamed(b"a", error=BrokenReplyError("cut")), streamed(b"a"))

    async def play() -> None:
        whole, broken, given_up = [await scene.stage(make_attempt()) for _ in range(3)]
        assert scene.breaker.counts == (0, 0, 0)
        await read(whole)
        assert scene.breaker.counts == (1, 0, 0)
        with pytest.raises(BrokenReplyError):
            await read(broken)
        assert scene.breaker.counts == (2, 1, 0)
        await stream_of(given_up).aclose()
        assert scene.breaker.counts == (2, 1, 0), "a reader who leaves says nothing about the target"

    run(play())


def test_a_probe_s_stream_closes_the_circuit_by_its_beginning(run: Run) -> None:
    scene = Scene(*[ConnectError("down")] * 4, streamed(b"a", error=BrokenReplyError("cut")))

    async def play() -> None:
        await scene.ask(4)
        scene.clock.advance(10)
        answer = await scene.stage(make_attempt())
        assert scene.breaker.state is State.CLOSED
        with pytest.raises(BrokenReplyError):
            await read(answer)
        assert scene.breaker.counts == (1, 1, 0), "and its end counts as any other"

    run(play())


def test_slow_is_what_the_target_took_without_the_wait_for_quota(run: Run) -> None:
    scene = Scene(slow_seconds=1.0, slow_percent=100.0, min_calls=100)

    async def answer(attempt: Attempt, waited: float, took: float, *, stream: bool = False) -> Reply:
        scene.clock.advance(waited + took)
        attempt.call.record.queue_ns += int(waited * 1e9)
        return streamed(b"a") if stream else reply()

    async def play() -> None:
        scene.inside._script = [
            lambda attempt: answer(attempt, 5, 0.9),
            lambda attempt: answer(attempt, 0, 1),
            lambda attempt: answer(attempt, 0, 1, stream=True),
            lambda attempt: answer(attempt, 0, 1, stream=True),
        ]
        attempt = make_attempt()
        await scene.stage(attempt)
        assert scene.breaker.counts == (1, 0, 0)
        await scene.stage(attempt)
        assert scene.breaker.counts == (2, 0, 1)
        await read(await scene.stage(attempt))
        await stream_of(await scene.stage(attempt)).aclose()
        assert scene.breaker.counts == (4, 0, 3)

    run(play())


def test_first_tries_are_the_traffic_that_retries_are_a_share_of(run: Run) -> None:
    scene = Scene(reply(), retry_floor=0)
    run(scene.ask(5))
    run(scene.ask(5, make_attempt(number=2)))
    assert [scene.health.allow_retry(TARGET.name) for _ in range(2)] == [True, False]


def test_a_caller_who_is_cancelled_gives_the_probe_back(run: Run) -> None:
    async def never(_attempt: Attempt) -> Reply:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    scene = Scene(*[ConnectError("down")] * 4, never, reply())

    async def play() -> None:
        await scene.ask(4)
        scene.clock.advance(10)
        probe = asyncio.create_task(scene.stage(make_attempt()))
        await asyncio.sleep(0)
        with pytest.raises(CircuitOpenError):
            await scene.stage(make_attempt())
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        await scene.stage(make_attempt())
        assert scene.breaker.state is State.CLOSED

    run(play())
