"""Every attempt that is billed is counted, and nothing silently costs nothing."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.cost.prices import Price
from ai_client.errors import BrokenReplyError, ConnectError, InvalidRequestError
from ai_client.model.call import Attempt, Call, Target
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint, Fields
from ai_client.model.usage import BROKEN, CANCELLED, NO_USAGE, Lost, Usage, by_length
from ai_client.pipeline.accounted import Accounted
from ai_client.testing import reply, streamed
from ai_client.testing.provider import Line
from tests.calls import make_attempt, make_call
from tests.running import Run
from tests.unit.pipeline.stages import Inside, read, stream_of

PRICES = {"m": Price(2_000_000_000, 500_000_000, 8_000_000_000)}  # 2, 0.5 and 8 dollars a million tokens
USAGE = Usage(1000, 10, cached_input_tokens=400)
COST = 600 * 2000 + 400 * 500 + 10 * 8000


class House:
    def __init__(self, *script: Line, refuse_unknown: bool = False) -> None:
        self.inside = Inside(*script)
        self.unknown: list[str] = []
        unknown = self.unknown.append
        self.stage = Accounted(self.inside, PRICES.get, unknown, by_length, refuse_unknown=refuse_unknown)


def test_an_answer_is_priced(run: Run) -> None:
    call = make_call()
    run(House(reply(usage=USAGE)).stage(make_attempt(call)))
    assert (call.record.usage, call.record.cost_nano) == (USAGE, COST)


def test_every_attempt_that_was_answered_is_billed(run: Run) -> None:
    async def scenario(call: Call) -> None:
        house = House(reply(usage=USAGE), ConnectError("x"), reply(usage=USAGE))
        await house.stage(make_attempt(call))
        with pytest.raises(ConnectError):
            await house.stage(make_attempt(call))
        await house.stage(make_attempt(call))

    call = make_call()
    run(scenario(call))
    record = call.record
    assert (record.cost_nano, record.usage) == (2 * COST, USAGE), "the answer's count is the last one's"
    assert record.lost == (Lost("p/m", "m", USAGE, COST, BROKEN),)
    assert (record.spent, record.lost_nano) == (Usage(2000, 20, cached_input_tokens=800), COST)


def test_an_attempt_that_failed_is_no_completion(run: Run) -> None:
    call = make_call()
    with pytest.raises(BrokenReplyError):
        run(House(BrokenReplyError("x")).stage(make_attempt(call)))
    assert (call.record.usage, call.record.cost_nano, call.record.lost) == (NO_USAGE, 0, ())


def test_what_came_before_a_break_that_nobody_saw_is_billed(run: Run) -> None:
    error = BrokenReplyError("x")
    error.came = 41
    call = make_call()
    with pytest.raises(BrokenReplyError):
        run(House(error).stage(make_attempt(call)))
    usage = Usage(10, 11, estimated=True)
    assert call.record.lost == (Lost("p/m", "m", usage, 10 * 2000 + 11 * 8000, BROKEN),)
    assert (call.record.usage, call.record.spent, call.record.cost_nano) == (NO_USAGE, usage, 108_000)


def test_who_leaves_before_the_answer_pays_for_the_prompt(run: Run) -> None:
    call = make_call()
    with pytest.raises(asyncio.CancelledError):
        run(House(asyncio.CancelledError()).stage(make_attempt(call)))
    assert call.record.lost == (Lost("p/m", "m", Usage(10, 0, estimated=True), 20_000, CANCELLED),)
    assert call.record.cost_nano == 20_000


def test_of_a_held_stream_that_is_given_up_what_came_is_billed(run: Run) -> None:
    async def held(attempt: Attempt) -> Reply:
        attempt.call.record.came = 41
        raise asyncio.CancelledError

    call = make_call()
    with pytest.raises(asyncio.CancelledError):
        run(House(held).stage(make_attempt(call)))
    assert [each.usage for each in call.record.lost] == [Usage(10, 11, estimated=True)]
    assert call.record.came == 0


def test_what_passes_through_and_is_given_up_costs_nobody_knows_what(run: Run) -> None:
    call = make_call(endpoint=Endpoint.OTHER, path="/files", fields=Fields("", input_chars=40))
    with pytest.raises(asyncio.CancelledError):
        run(House(asyncio.CancelledError()).stage(make_attempt(call, Target("p", "", ""))))
    assert (call.record.lost, call.record.cost_nano) == ((), 0)


def test_what_is_lost_without_a_price_is_warned_of(run: Run) -> None:
    house = House(asyncio.CancelledError(), asyncio.CancelledError())
    call = make_call(fields=Fields("new"))
    with pytest.raises(asyncio.CancelledError):
        run(house.stage(make_attempt(call, Target("p", "new", "new"))))
    assert house.unknown == [], "an empty prompt costs nothing"
    with pytest.raises(asyncio.CancelledError):
        run(house.stage(make_attempt(target=Target("p", "new", "new"))))
    assert house.unknown == ["new"]


@pytest.mark.parametrize("error", [None, BrokenReplyError("cut off")])
def test_a_stream_is_billed_for_what_came(run: Run, error: BrokenReplyError | None) -> None:
    async def scenario(call: Call) -> None:
        answer = await House(streamed(b"a", usage=USAGE, error=error)).stage(make_attempt(call))
        assert call.record.cost_nano == 0, "nobody knows yet"
        if error is None:
            await read(answer)
        else:
            with pytest.raises(BrokenReplyError):
                await read(answer)

    call = make_call()
    run(scenario(call))
    assert (call.record.usage, call.record.cost_nano) == (USAGE, COST)


def test_a_stream_that_is_given_up_is_billed_too(run: Run) -> None:
    async def scenario(call: Call) -> None:
        await stream_of(await House(streamed(b"a", usage=USAGE)).stage(make_attempt(call))).aclose()

    call = make_call()
    run(scenario(call))
    assert call.record.cost_nano == COST


def test_an_unknown_price_is_warned_of(run: Run) -> None:
    house = House(reply(usage=USAGE))
    call = make_call()
    run(house.stage(make_attempt(call, Target("p", "new", "new"))))
    assert house.unknown == ["new"]
    assert (call.record.usage, call.record.cost_nano, call.record.unpriced) == (USAGE, 0, True)


def test_what_spent_no_tokens_needs_no_price(run: Run) -> None:
    house = House(reply())
    call = make_call()
    run(house.stage(make_attempt(call, Target("p", "new", "new"))))
    assert house.unknown == []
    assert not call.record.unpriced


def test_an_unknown_price_is_refused_before_anything_is_sent(run: Run) -> None:
    house = House(refuse_unknown=True)
    with pytest.raises(InvalidRequestError, match=r"'new' has no price: add it to \[model_costs\]") as caught:
        run(house.stage(make_attempt(target=Target("p", "new", "new"))))
    assert caught.value.param == "model"
    assert house.inside.attempts == []
    run(house.stage(make_attempt()))


def test_what_names_no_model_is_passed_through(run: Run) -> None:
    house = House(refuse_unknown=True)
    call = make_call(endpoint=Endpoint.OTHER, path="/files", method="GET", fields=Fields(""))
    run(house.stage(make_attempt(call, Target("p", "", ""))))
    assert len(house.inside.attempts) == 1
