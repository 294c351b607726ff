"""Whatever happens to a call, it is told once, when it is over."""

from __future__ import annotations

import asyncio

import pytest

from ai_client.errors import AIClientError, BrokenReplyError, InvalidRequestError, UpstreamStatusError
from ai_client.model.call import Call
from ai_client.model.record import Record
from ai_client.model.reply import Reply
from ai_client.pipeline.observed import CLIENT_CLOSED, Observed
from ai_client.testing import CaptureSink, FakeClock, reply, streamed
from ai_client.testing.provider import Line
from tests.calls import make_call, make_record
from tests.running import Run
from tests.unit.pipeline.stages import Inside, read, stream_of


class House:
    def __init__(self, *script: Line) -> None:
        self.clock = FakeClock()
        self.sinks = [CaptureSink(), CaptureSink()]
        self.inside = Inside(*script)
        self.stage = Observed(self._inner, self.sinks, self.clock)

    async def _inner(self, call: Call) -> Reply:
        self.clock.advance(2)
        return await self.inside.answer(call)

    @property
    def told(self) -> Record:
        """What every sink was told, once."""
        first, second = (sink.records for sink in self.sinks)
        assert first == second
        assert len(first) == 1
        assert self.stage.in_flight == 0
        return first[0]


def test_an_answer(run: Run) -> None:
    house = House(reply(b"12345", status=201))
    run(house.stage(make_call()))
    assert (house.told.status, house.told.bytes_out, house.told.error) == (201, 5, "")
    assert house.told.duration_ns == 2 * 10**9


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequestError("x"), 400, "invalid_request"),
        (AIClientError("x"), 500, "api_error"),
        (UpstreamStatusError("x", status=503, code="busy"), 503, "busy"),
        (asyncio.CancelledError(), CLIENT_CLOSED, "cancelled"),
        (ZeroDivisionError(), 500, "internal"),
    ],
)
def test_an_error(run: Run, error: BaseException, status: int, code: str) -> None:
    house = House(error)
    with pytest.raises(type(error)):
        run(house.stage(make_call()))
    assert (house.told.status, house.told.error) == (status, code)


def test_a_call_is_in_flight_until_its_stream_is_over(run: Run) -> None:
    async def scenario() -> None:
        house = House(streamed(b"a", b"b"))
        answer = await house.stage(make_call())
        assert house.stage.in_flight == 1
        assert house.sinks[0].records == []
        house.clock.advance(3)
        await read(answer)
        assert (house.told.status, house.told.error, house.told.duration_ns) == (200, "", 5 * 10**9)

    run(scenario())


def test_a_stream_that_breaks_off(run: Run) -> None:
    async def scenario() -> None:
        house = House(streamed(b"a", error=BrokenReplyError("cut off")))
        answer = await house.stage(make_call())
        with pytest.raises(BrokenReplyError):
            await read(answer)
        await stream_of(answer).aclose()
        assert (house.told.status, house.told.error) == (502, "broken_reply")

    run(scenario())


@pytest.mark.parametrize("cancelled", [True, False])
def test_a_stream_whose_reader_goes_away(run: Run, cancelled: bool) -> None:
    async def scenario() -> None:
        house = House(streamed(b"a", error=asyncio.CancelledError() if cancelled else None))
        answer = await house.stage(make_call())
        await stream_of(answer).__anext__()
        if cancelled:
            with pytest.raises(asyncio.CancelledError):
                await stream_of(answer).__anext__()
        await stream_of(answer).aclose()
        assert (house.told.status, house.told.error) == (CLIENT_CLOSED, "cancelled")

    run(scenario())


def test_what_never_became_a_call_is_told_too() -> None:
    house = House()
    house.stage.refused(make_record(), InvalidRequestError("not JSON"))
    assert (house.told.status, house.told.error) == (400, "invalid_request")


def test_a_call_that_is_given_up(run: Run) -> None:
    async def scenario() -> None:
        never = asyncio.Event()

        async def waiting(_: object) -> Reply:
            await never.wait()
            return reply()

        house = House(waiting)
        task = asyncio.create_task(house.stage(make_call()))
        await asyncio.sleep(0)
        assert house.stage.in_flight == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert house.told.status == CLIENT_CLOSED

    run(scenario())
