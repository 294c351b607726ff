"""Whatever two requests for one answer do, and whenever the caller leaves: nothing leaks, and the sums are right."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ai_client.cost.budget import ALL
from ai_client.errors import AIClientError, BrokenReplyError, ConnectError, InvalidRequestError, UpstreamStatusError
from ai_client.model.call import Attempt
from ai_client.model.reply import Reply
from ai_client.model.usage import HEDGE, Usage
from ai_client.testing import FakeClock, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import PROMPT
from tests.unit.pipeline.test_hedged import House
from tests.virtual import pass_seconds, run_virtually

BUDGET = 10**9

seconds = st.sampled_from([0.0, 0.5, 1.0, 1.0625, 1.1, 1.5, 2.0, 5.0, 30.0])
ends = st.sampled_from(["whole", "stream", "breaks", "down", "500", "429", "400"])
tries = st.lists(st.tuples(seconds, ends), min_size=1, max_size=3)
calls = st.lists(st.tuples(tries, tries, st.booleans(), st.none() | seconds), min_size=1, max_size=4)


def line(delay: float, end: str) -> Line:
    """What a provider does after so long."""

    async def answered(attempt: Attempt) -> Reply:
        await pass_seconds(delay)
        if end == "down":
            raise ConnectError("x")
        if end in ("400", "500", "429"):
            raise {
                "400": InvalidRequestError("x"),
                "500": UpstreamStatusError("x", status=500),
                "429": UpstreamStatusError("x", status=429, retry_after=0.5),
            }[end]
        if not attempt.call.fields.stream:
            return reply(b"x", Usage(10, 3))
        error = BrokenReplyError("x") if end == "breaks" else None
        return streamed(b"x", b"y", usage=Usage(10, 3), error=error)

    return answered


async def one(house: House, stream: bool, leaves: float | None) -> None:
    call = replace(house.call(), fields=replace(PROMPT, stream=stream))

    async def ask() -> None:
        answer = await house.pipeline(call)
        if answer.stream is not None:
            try:
                async for _ in answer.stream:
                    await pass_seconds(0.1)
            finally:
                await answer.stream.aclose()

    task = asyncio.ensure_future(ask())
    if leaves is not None:
        await pass_seconds(leaves)
        task.cancel()
    with contextlib.suppress(AIClientError, asyncio.CancelledError):
        await task
    record = call.record
    assert record.cost_nano == (record.spent.total_tokens) * 1000, "every token is paid for once"
    assert record.attempts >= sum(each.why == HEDGE for each in record.lost)


@settings(max_examples=150, deadline=None)
@given(calls)
def test_nothing_leaks_and_the_sums_are_right(plan: list[tuple[Any, Any, bool, float | None]]) -> None:
    async def scenario(clock: FakeClock) -> None:
        firsts = [line(*each) for a, _, _, _ in plan for each in a]
        seconds_ = [line(*each) for _, b, _, _ in plan for each in b]
        house = House(clock, firsts, seconds_, budget=BUDGET, retries=1)
        for _, _, stream, leaves in plan:
            await one(house, stream, leaves)
            await pass_seconds(3)
        assert house.is_clean()
        assert house.budgets.accounts[ALL].spent == sum(each.cost_nano for each in house.sink.records)
        assert len(house.sink.records) == len(plan)
        assert house.known.launched >= house.known.won

    run_virtually(scenario)
