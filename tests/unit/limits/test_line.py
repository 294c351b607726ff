"""Who goes first."""

from __future__ import annotations

import asyncio
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_client.limits.base import NOTHING, Need
from ai_client.limits.line import Line, plus
from tests.quotas import need, who
from tests.running import Run

SECOND = 1_000_000_000


def _service(line: Line, rounds: int, now: int = 0, turn: int = 0) -> list[str]:
    """Whose turn it is, so many times, where each takes `turn`."""
    turns: list[str] = []
    for number in range(rounds):
        head = line.head
        turns.append(head.flow.caller.app)
        line.serve(head, now + number * turn)
    return turns


def test_waiting_makes_up_for_priority(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        line.join(who(2, "low"), need(1), SECOND, 0, future)
        assert line.precedes(5, 17 * SECOND), "three levels are worth 18 seconds"
        assert not line.precedes(5, 18 * SECOND)
        assert line.precedes(6, 18 * SECOND)
        assert not line.precedes(2, 0), "it is behind its own like"
        line.join(who(5, "high"), need(1), SECOND, 17 * SECOND, future)
        assert line.head.flow.caller.app == "high"
        line.join(who(6, "late"), need(1), SECOND, 25 * SECOND, future)
        assert _service(line, 3, 25 * SECOND) == ["high", "low", "late"]

    run(scene())


def test_whom_waiting_has_lifted_is_an_equal_and_no_more(run: Run) -> None:
    """Both have more to ask than there is; a turn takes half a second."""

    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for _ in range(400):
            line.join(who(1, "batch"), need(1), SECOND, 0, future)
            line.join(who(5, "online"), need(1), SECOND, 0, future)
        turns = _service(line, 480, turn=SECOND // 2)
        assert 48 <= turns.index("batch") <= 52, "four levels are worth 24 seconds"
        assert 95 <= turns[52:252].count("batch") <= 105
        assert 110 <= turns[252:].count("batch") <= 118

    run(scene())


def test_an_equal_gets_its_app_s_part(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(SECOND)
        for number in range(600):
            line.join(who(1, "batch"), need(1), SECOND, 0, future)
            line.join(who(5, f"online {number % 3}"), need(1), SECOND, 0, future)
        turns = _service(line, 500, turn=SECOND // 2)
        assert 115 <= turns[40:].count("batch") <= 125

    run(scene())


def test_who_is_served_all_the_time_gets_no_older(run: Run) -> None:
    """A backlog of minutes, whatever a call costs, is no reason to let the urgent wait."""

    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for second in range(600):
            line.join(who(1, "batch"), need(1), 1, second * SECOND, future)
            line.join(who(1, "batch"), need(1), 1, second * SECOND, future)
            assert line.precedes(2, second * SECOND)
            line.serve(line.head, second * SECOND)
        assert line.before(who(2), 600 * SECOND)[:2] == (0, NOTHING)

    run(scene())


def test_an_app_that_left_pays_for_what_it_had(run: Run) -> None:
    """One that asks again and again, each time alone, gets no more than one whose calls all wait."""

    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for _ in range(50):
            line.join(who(app="patient"), need(1), SECOND, 0, future)
        turns: list[str] = []
        for _ in range(40):
            if "eager" not in [caller.app for caller, _ in line.callers]:
                line.join(who(app="eager"), need(2), 2 * SECOND, 0, future)
            turns += _service(line, 1)
        assert 13 <= turns.count("eager") <= 14, "its calls cost twice as much"

    run(scene())


def test_apps_take_turns_however_much_one_of_them_asks(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(SECOND)
        for number in range(60):
            line.join(who(app="light"), need(1), SECOND, number, future)
            for _ in range(10):
                line.join(who(app="heavy"), need(1), SECOND, number, future)
        turns = _service(line, 60)
        assert abs(turns.count("light") - turns.count("heavy")) <= 4

    run(scene())


def test_weight_is_a_share(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for _ in range(90):
            line.join(who(app="three", weight=3), need(1), SECOND, 0, future)
            line.join(who(app="one"), need(1), SECOND, 0, future)
        assert 42 <= _service(line, 60).count("three") <= 48

    run(scene())


@pytest.mark.parametrize("cost", [SECOND // 10, SECOND // 500, 0])
def test_an_app_within_its_share_does_not_notice_a_heavy_one(run: Run, cost: int) -> None:
    """A second of service is given each second; the heavy app asks for three, the light one for a tenth. What a call
    costs is said to be its time, or a fiftieth of it, or nothing, as where only places are counted.
    """

    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        longest = 0
        for second in range(600):
            for _ in range(30):
                line.join(who(app="heavy"), need(1), cost, second * SECOND, future)
            mine = line.join(who(app="light"), need(1), cost, second * SECOND, future)
            turns = _service(line, 10, second * SECOND)
            assert "light" in turns, "it never waits for the next second"
            longest = max(longest, turns.index("light"))
            assert mine.flow.count == 0
        assert longest <= 4

    run(scene())


def test_urgent_calls_of_the_same_app_do_not_stand_behind_its_backlog(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for _ in range(100):
            line.join(who(5), need(1), SECOND, 0, future)
        assert line.before(who(9), 0)[:2] == (0, NOTHING)
        assert line.before(who(5), 0)[0] == 100

    run(scene())


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 3), st.integers(1, 9)), max_size=80), st.integers(1, 10))
def test_who_would_be_before_is_counted(joins: list[tuple[int, int, int]], priority: int) -> None:
    loop = asyncio.new_event_loop()
    try:
        line = Line(SECOND)
        for level, app, units in joins:
            line.join(who(level, f"app{app}"), need(units), units, 0, loop.create_future())
        place, total, _ = line.before(who(priority, "new"), 0)
        mine = line.join(who(priority, "new"), need(1), 1, 0, loop.create_future())
        before: list[Need] = []
        while line.head is not mine:
            before.append(line.head.need)
            line.serve(line.head, 0)
        assert (place, total) == (len(before), reduce(plus, before, NOTHING))
        while len(line):
            line.serve(line.head, 0)
        assert line.callers == []
    finally:
        loop.close()


def test_of_those_who_were_lifted_as_many_are_before_as_take_turns(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(SECOND)
        for _ in range(5):
            line.join(who(1, "low"), need(2), 1, 0, future)
        for _ in range(2):
            line.join(who(5), need(1), 1, 9 * SECOND, future)
        assert line.before(who(5), 9 * SECOND) == (5, need(8, requests=5), False)

    run(scene())


def test_without_ageing_there_is_one_rank_for_all(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(0)
        line.join(who(1, "first"), need(1), SECOND, 0, future)
        line.join(who(9, "second"), need(1), SECOND, 0, future)
        assert line.urgent(SECOND) == (0, 0, need(2, requests=2))
        assert not line.precedes(10, SECOND)
        assert _service(line, 2) == ["first", "second"]

    run(scene())


def test_far_behind_the_average_is_taken(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(SECOND)
        for _ in range(400):
            line.join(who(app="a"), need(2), 1, 0, future)
        line.join(who(app="b"), need(302), 299, 0, future)
        place, total, _ = line.before(who(app="b"), 0)
        assert (place, total) == (301, (401 * 301 // 401, 1102 * 301 // 401, 0, 1102 * 301 // 401, 0))

    run(scene())


def test_a_new_app_has_had_less_than_anybody_for_one_call(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for _ in range(10):
            line.join(who(app="heavy"), need(1), SECOND, 0, future)
        assert _service(line, 8) == ["heavy"] * 8
        light = [line.light]
        assert line.before(who(app="new"), 0) == (0, NOTHING, True)
        for _ in range(2):
            line.join(who(app="new"), need(1), SECOND, 0, future)
        light.append(line.light)
        assert _service(line, 1) == ["new"]
        light.append(line.light)
        assert light == [False, True, False], "whose calls wait all the time has had its part"

    run(scene())


def test_what_an_app_had_is_remembered_when_nobody_waits(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        line.join(who(app="light"), need(1), SECOND, 0, future)
        for _ in range(9):
            line.join(who(app="heavy"), need(1), SECOND, 0, future)
        _service(line, 10)
        line.join(who(app="heavy"), need(1), SECOND, SECOND, future)
        light = [line.light]
        assert line.before(who(app="light"), SECOND) == (0, NOTHING, True)
        for _ in range(6):
            line.join(who(app="light"), need(1), SECOND, SECOND, future)
        light.append(line.light)
        assert light == [False, True], "who had all that it wanted is behind nobody"
        assert _service(line, 6) == ["light"] * 4 + ["heavy", "light"], "four calls, and it is an equal again"
        assert not line.before(who(9, app="light"), SECOND)[2], "of another priority nobody had more"

    run(scene())


def test_behind_others_of_a_higher_priority_nobody_is_light(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        line.join(who(5, app="heavy"), need(1), SECOND, 0, future)
        line.join(who(9, app="urgent"), need(1), SECOND, 0, future)
        assert line.before(who(5, app="light"), 0) == (2, need(2, requests=2), False)

    run(scene())
