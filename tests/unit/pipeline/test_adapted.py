"""Places at a target: waited for, given back exactly once, and what each answer says of their number."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from ai_client.errors import (
    AIClientError,
    BrokenReplyError,
    InvalidRequestError,
    RateLimitedError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.limits.adaptive import Adaptive, Target
from ai_client.limits.base import Settings
from ai_client.limits.gradient import Pace
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply
from ai_client.pipeline.adapted import Adapted
from ai_client.testing import FakeClock, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import TARGET, make_attempt, make_call, streaming
from tests.unit.pipeline.stages import Inside, read, stream_of
from tests.virtual import pass_seconds, run_virtually


class Slow(Inside):
    """Answers after so many seconds."""

    def __init__(self, *script: Line, seconds: float = 1.0) -> None:
        super().__init__(*script)
        self.seconds = seconds

    async def __call__(self, attempt: Attempt) -> Reply:
        await pass_seconds(self.seconds)
        return await super().__call__(attempt)


class Scene:
    """A target of two places at first."""

    def __init__(self, clock: FakeClock, *script: Line, seconds: float = 1.0, **settings: float) -> None:
        self.adaptive = Adaptive(clock)
        self.adaptive.set(Pace(least=1, first=2), Settings(**settings))  # type: ignore[arg-type]
        self.inside = Slow(*(script or (reply(),)), seconds=seconds)
        self.stage = Adapted(self.inside, self.adaptive, {"app": 3}, clock)

    @property
    def target(self) -> Target:
        return self.adaptive.of(TARGET.name, TARGET.key)


def test_no_more_at_once_than_there_are_places() -> None:
    async def scenario(clock: FakeClock) -> None:
        scene = Scene(clock)
        calls = [make_call() for _ in range(3)]
        tasks = [asyncio.create_task(scene.stage(make_attempt(call))) for call in calls]
        await pass_seconds(0.5)
        assert (scene.target.gate.running, scene.target.gate.waiting) == (2, 1)
        await asyncio.gather(*tasks)
        assert [call.record.queue_ns // 10**9 for call in calls] == [0, 0, 1]
        assert scene.target.gate.running == 0

    run_virtually(scenario)


def test_one_that_cannot_wait_is_refused_and_takes_nothing() -> None:
    async def scenario(clock: FakeClock) -> None:
        scene = Scene(clock, seconds=100.0, max_wait=5.0)
        tasks = [asyncio.create_task(scene.stage(make_attempt())) for _ in range(2)]
        await asyncio.sleep(0)
        call = make_call()
        with pytest.raises(RateLimitedError, match="the target 'p/m'"):
            await scene.stage(make_attempt(call))
        assert call.record.queue_ns == 5 * 10**9
        assert len(scene.inside.attempts) == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert scene.target.gate.running == 0

    run_virtually(scenario)


@pytest.mark.parametrize(
    ("error", "cuts"),
    [
        (UpstreamStatusError("x", status=429), 1),
        (UpstreamStatusError("x", status=529), 1),
        (UpstreamTimeoutError("x", phase="first_byte"), 1),
        (UpstreamTimeoutError("x", phase="total"), 0),
        (UpstreamStatusError("x", status=500), 0),
        (BrokenReplyError("x"), 0),
        (InvalidRequestError("x"), 0),
    ],
    ids=repr,
)
def test_what_says_that_it_was_too_much(error: AIClientError, cuts: int) -> None:
    async def scenario(clock: FakeClock) -> None:
        scene = Scene(clock, error)
        with pytest.raises(type(error)):
            await scene.stage(make_attempt())
        assert (scene.target.cuts, scene.target.gate.places, scene.target.gate.running) == (cuts, 2 - cuts, 0)
        await pass_seconds(1)
        stream = streaming()
        scene.inside = Slow(streamed(b"data: 1\n\n", error=error))
        scene.stage = Adapted(scene.inside, scene.adaptive, {}, clock)
        answer = await scene.stage(make_attempt(stream))
        assert scene.target.gate.running == 1
        with pytest.raises(type(error)):
            await read(answer)
        assert scene.target.gate.running == 0
        assert scene.target.cuts == 2 * cuts

    run_virtually(scenario)


def test_a_second_request_does_not_wait() -> None:
    async def scenario(clock: FakeClock) -> None:
        scene = Scene(clock)
        tasks = [asyncio.create_task(scene.stage(make_attempt())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RateLimitedError, match="second request"):
            await scene.stage(msgspec.structs.replace(make_attempt(), hedge=True))
        await asyncio.gather(*tasks)
        await scene.stage(msgspec.structs.replace(make_attempt(), hedge=True))
        assert scene.target.gate.running == 0

    run_virtually(scenario)


def test_a_stream_keeps_its_place_to_its_end_and_counts_by_its_beginning() -> None:
    async def scenario(clock: FakeClock) -> None:
        scene = Scene(clock, *(streamed(b"data: 1\n\n") for _ in range(10)))
        for _ in range(10):
            answer = await scene.stage(make_attempt(streaming()))
            assert scene.target.gate.running == 1
            await pass_seconds(50)
            await stream_of(answer).aclose()
            assert scene.target.gate.running == 0
        assert scene.target.limit._usual == [1e9, 0.0]

    run_virtually(scenario)
