"""Two requests for one answer: nothing of the loser is left, whatever the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from ai_client.errors import BrokenReplyError
from ai_client.model.record import Record
from ai_client.model.reply import Reply
from ai_client.model.usage import BROKEN, CANCELLED, HEDGE, Lost, Usage
from ai_client.pipeline.race import Race, side_record
from ai_client.testing import reply, streamed
from ai_client.testing.provider import ScriptedStream
from tests.calls import TARGET, make_record
from tests.running import Run
from tests.unit.pipeline.stages import read, stream_of
from tests.wire import turns


async def stubborn(record: Record, answer: Reply) -> Reply:
    """One whose answer is there at the very moment it is cancelled: it cannot be stopped any more."""
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        record.book("p/m", answer.usage, 100)
    return answer


async def prompt(record: Record, answer: Reply) -> Reply:
    if answer.stream is None:
        record.book("q/m", answer.usage, 10)
    else:
        answer.stream.on_end(lambda end: record.book("q/m", end.usage, 10))
    return answer


def of(answer: Reply) -> ScriptedStream:
    stream = stream_of(answer)
    assert isinstance(stream, ScriptedStream)
    return stream


async def race(record: Record, first: Callable[[Record], asyncio.Future[Reply]], second: Reply) -> Race:
    begun = Race(record, first(record))
    await turns(2)
    side = side_record(record, TARGET)
    begun.enter(asyncio.ensure_future(prompt(side, second)), side)
    await turns(2)
    return begun


@pytest.mark.parametrize("whole", [True, False])
def test_a_first_that_cannot_be_stopped_is_closed_and_booked_as_lost(run: Run, whole: bool) -> None:
    late = streamed(b"a", usage=Usage(3, 3))

    async def scenario() -> None:
        record = make_record()
        answer = reply(usage=Usage(1, 1)) if whole else streamed(b"b", usage=Usage(1, 1))
        begun = await race(record, lambda record: asyncio.ensure_future(stubborn(record, late)), answer)
        assert begun.second_wins() is answer
        await begun.clear()
        assert of(late).closed
        if not whole:
            assert await read(answer) == b"b"
        assert record.lost == (Lost("p/m", "m", Usage(), 100, HEDGE),)
        assert (record.usage, record.billed, record.cost_nano) == (Usage(1, 1), "q/m", 110)

    run(scenario())


@pytest.mark.parametrize("second_won", [True, False])
def test_a_caller_who_leaves_while_the_loser_is_stopped_leaves_nothing(run: Run, second_won: bool) -> None:
    first, second = streamed(b"a"), streamed(b"b")

    async def clear(begun: Race) -> None:
        await begun.clear()

    async def scenario() -> None:
        record = make_record()
        begun = await race(record, lambda record: asyncio.ensure_future(stubborn(record, first)), second)
        if second_won:
            begun.second_wins()
        task = asyncio.ensure_future(clear(begun))
        await turns(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert of(first).closed
        assert of(second).closed

    run(scenario())


def test_what_was_lost_before_the_race_stays_what_it_was(run: Run) -> None:
    async def scenario() -> None:
        record = make_record()
        earlier = Lost("p/m", "m", Usage(1), 1, BROKEN)
        record.lose(earlier)

        async def lost_by_cancelling(record: Record) -> Reply:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                record.lose(Lost("p/m", "m", Usage(2), 2, CANCELLED))
                raise
            return reply()

        begun = await race(record, lambda record: asyncio.ensure_future(lost_by_cancelling(record)), reply())
        begun.second_wins()
        await begun.clear()
        assert [each.why for each in record.lost] == [BROKEN, HEDGE]
        assert record.cost_nano == 13

    run(scenario())


def test_a_second_that_lost_something_before_it_won_brings_it_along(run: Run) -> None:
    async def scenario() -> None:
        record = make_record()

        async def failing() -> Reply:
            raise BrokenReplyError("x")

        begun = await race(record, lambda record: asyncio.ensure_future(failing()), reply(usage=Usage(1, 1)))
        begun._side.lose(Lost("q/m", "m", Usage(5), 5, BROKEN))  # type: ignore[union-attr]
        assert begun.running == []
        begun.second_wins()
        await begun.clear()
        assert (record.cost_nano, record.lost_nano, record.usage) == (15, 5, Usage(1, 1))
        with pytest.raises(BrokenReplyError):
            begun.first_wins()

    run(scenario())
