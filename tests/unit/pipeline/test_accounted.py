"""Every attempt that is billed is counted, and nothing silently costs nothing."""

from __future__ import annotations

import pytest

from ai_client.cost.prices import Price
from ai_client.errors import BrokenReplyError, ConnectError, InvalidRequestError
from ai_client.model.call import Call, Target
from ai_client.model.request import Endpoint, Fields
from ai_client.model.usage import Usage
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
        self.stage = Accounted(self.inside, PRICES.get, self.unknown.append, refuse_unknown=refuse_unknown)


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
    assert call.record.cost_nano == 2 * COST


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
    assert (call.record.usage, call.record.cost_nano) == (USAGE, 0)


def test_what_spent_no_tokens_needs_no_price(run: Run) -> None:
    house = House(reply())
    run(house.stage(make_attempt(target=Target("p", "new", "new"))))
    assert house.unknown == []


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
