"""Two requests for one answer: nothing of the loser is left, whatever the moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

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


async def never() -> Any:
    await asyncio.get_running_loop().create_future()


async def prompt(side: Record, answer: Reply) -> Reply:
    """Answers at once, and books it as accounting would."""
    if answer.stream is None:
        side.book("q/m", answer.usage, 10)
    else:
        answer.stream.on_end(lambda end: side.book("q/m", end.usage, 10))
    return answer


async def stubborn(side: Record, answer: Reply) -> Reply:
    """One whose answer is there at the very moment it is cancelled: it cannot be stopped any more."""
    try:
        await never()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
    return await prompt(side, answer)


def of(answer: Reply) -> ScriptedStream:
    stream = stream_of(answer)
    assert isinstance(stream, ScriptedStream)
    return stream


async def race(record: Record, second: Any, answer: Reply) -> Race:
    task = asyncio.current_task()
    assert task is not None
    begun = Race(record, task)
    side = side_record(record, TARGET)
    begun.enter(asyncio.ensure_future(second(side, answer)), side)
    await turns(2)
    return begun


@pytest.mark.parametrize("second", [prompt, stubborn])
@pytest.mark.parametrize("whole", [True, False])
def test_a_second_that_came_in_too_late_is_closed_and_booked_as_lost(run: Run, second: Any, whole: bool) -> None:
    async def scenario() -> None:
        record = make_record()
        usage = Usage(3, 4)
        late = reply(usage=usage) if whole else streamed(b"b", usage=usage)
        begun = await race(record, second, late)
        record.book("p/m", Usage(1, 1), 100)
        begun.first_wins(reply())
        await begun.clear()
        assert whole or of(late).closed
        assert record.lost == (Lost("q/m", "m", usage, 10, HEDGE),)
        assert (record.usage, record.billed, record.cost_nano) == (Usage(1, 1), "p/m", 110)

    run(scenario())


@pytest.mark.parametrize("whole", [True, False])
def test_a_second_that_wins_is_booked_as_the_answer(run: Run, whole: bool) -> None:
    """What was lost before the race stays what it was; what the first cost in it was lost to the second."""

    async def scenario() -> None:
        record = make_record()
        earlier = Lost("p/m", "m", Usage(1), 1, BROKEN)
        record.lose(earlier)
        usage = Usage(3, 4)
        answer = reply(usage=usage) if whole else streamed(b"b", usage=usage)
        begun = await race(record, prompt, answer)
        record.lose(Lost("p/m", "m", Usage(2), 2, CANCELLED))
        assert begun.second_wins() is answer
        await begun.clear()
        if not whole:
            assert record.cost_nano == 3, "nobody knows yet"
            assert await read(answer) == b"b"
        assert record.lost == (earlier, Lost("p/m", "m", Usage(2), 2, HEDGE))
        assert (record.usage, record.billed, record.cost_nano) == (usage, "q/m", 13)

    run(scenario())


def test_what_the_second_lost_before_it_won_comes_along(run: Run) -> None:
    async def losing(side: Record, answer: Reply) -> Reply:
        side.lose(Lost("q/m", "m", Usage(5), 5, BROKEN))
        side.unpriced = True
        return await prompt(side, answer)

    async def scenario() -> None:
        record = make_record()
        begun = await race(record, losing, reply(usage=Usage(1, 1)))
        begun.second_wins()
        await begun.clear()
        assert (record.cost_nano, record.lost_nano, record.usage) == (15, 5, Usage(1, 1))
        assert record.unpriced

    run(scenario())


def test_a_caller_who_leaves_while_the_loser_is_stopped_leaves_nothing(run: Run) -> None:
    first, second = streamed(b"a"), streamed(b"b")

    async def play() -> None:
        begun = await race(make_record(), stubborn, second)
        begun.first_wins(first)
        await begun.clear()

    async def scenario() -> None:
        task = asyncio.ensure_future(play())
        await turns(4)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert of(first).closed
        assert of(second).closed

    run(scenario())


@pytest.mark.parametrize("caller_too", [False, True])
def test_the_second_interrupts_the_first_but_never_hides_that_the_caller_left(run: Run, caller_too: bool) -> None:
    async def play(told: list[bool]) -> None:
        begun = await race(make_record(), prompt, reply())
        asyncio.get_running_loop().call_soon(begun.interrupt)
        if caller_too:
            asyncio.get_running_loop().call_soon(begun.task.cancel)
        try:
            await never()
        except asyncio.CancelledError:
            told.append(begun.interrupted())
        begun.interrupt()  # too late to mean anything
        await asyncio.sleep(0)

    async def scenario() -> None:
        told: list[bool] = []
        await asyncio.ensure_future(play(told))
        assert told == [not caller_too]

    run(scenario())
