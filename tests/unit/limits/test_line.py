"""Who goes first."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ai_client.limits.base import NOTHING
from ai_client.limits.line import Line, plus
from tests.quotas import need, who
from tests.running import Run

SECOND = 1_000_000_000


def test_waiting_makes_up_for_priority(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        low = line.join(who(2), need(1), SECOND, 0, future)
        assert line.precedes(5, 17 * SECOND), "three levels are worth 18 seconds"
        assert not line.precedes(5, 18 * SECOND)
        assert line.precedes(6, 18 * SECOND)
        high = line.join(who(5), need(1), SECOND, 17 * SECOND, future)
        late = line.join(who(5), need(1), SECOND, 19 * SECOND, future)
        assert list(line) == [high, low, late]

    run(scene())


def _service(line: Line, rounds: int) -> list[str]:
    """Whose turn it is, so many times."""
    turns: list[str] = []
    for _ in range(rounds):
        head = line.head
        turns.append(head.flow.key[0])
        line.leave(head, served=True)
    return turns


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


def test_an_app_within_its_share_does_not_notice_a_heavy_one(run: Run) -> None:
    """A second of service is given each second; the heavy app asks for three, the light one for a tenth."""

    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        longest = 0
        for second in range(600):
            for _ in range(30):
                line.join(who(app="heavy"), need(1), SECOND // 10, second * SECOND, future)
            mine = line.join(who(app="light"), need(1), SECOND // 10, second * SECOND, future)
            turns = _service(line, 10)
            assert "light" in turns, "it never waits for the next second"
            longest = max(longest, turns.index("light"))
            assert mine not in line
        assert longest <= 4

    run(scene())


def test_urgent_calls_of_the_same_app_do_not_stand_behind_its_backlog(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(6 * SECOND)
        for _ in range(100):
            line.join(who(5), need(1), SECOND, 0, future)
        assert line.before(who(9), 0) == (0, NOTHING)
        assert line.before(who(5), 0)[0] == 100

    run(scene())


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 3), st.integers(1, 9)), max_size=80), st.integers(1, 10))
def test_who_would_be_before_is_counted(joins: list[tuple[int, int, int]], priority: int) -> None:
    loop = asyncio.new_event_loop()
    try:
        line = Line(SECOND)
        future = loop.create_future()
        for level, app, units in joins:
            line.join(who(level, f"app{app}"), need(units), units, 0, future)
        place, total = line.before(who(priority, "new"), 0)
        ahead = [waiter for waiter in line if waiter.tag <= -priority * SECOND]
        assert place == len(ahead)
        expected = NOTHING
        for waiter in ahead:
            expected = plus(expected, waiter.need)
        assert total == expected
        while len(line):
            line.leave(line.head, served=True)
        assert line.total == NOTHING
        assert line._flows == {}
    finally:
        loop.close()


def test_far_behind_the_average_is_taken(run: Run) -> None:
    async def scene() -> None:
        future = asyncio.get_running_loop().create_future()
        line = Line(SECOND)
        for _ in range(300):
            line.join(who(8), need(2), 1, 0, future)
        line.join(who(1), need(302), 1, 0, future)
        place, total = line.before(who(5), 0)
        assert (place, total) == (300, (300, 902 * 300 // 301, 0, 902 * 300 // 301, 0))

    run(scene())
