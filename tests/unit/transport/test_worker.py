"""One task awaits what handlers hand back, in order, until the client is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from typing import cast

from ai_client.transport.exchange import Exchange
from ai_client.transport.worker import Worker
from tests.running import Run
from tests.wire import turns


class Answer:
    """As much of an exchange as a worker sees."""

    def __init__(self, *, closed: bool = True) -> None:
        self.closed = closed
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True


def exchange(*, closed: bool = True) -> Exchange:
    return cast("Exchange", Answer(closed=closed))


class Scene:
    def __init__(self) -> None:
        self.crashes: list[BaseException] = []
        self.done: list[tuple[object, object]] = []
        self.worker = Worker(asyncio.get_running_loop(), lambda error, _: self.crashes.append(error))

    async def note(self, what: object, until: asyncio.Event | None = None) -> None:
        try:
            if until is not None:
                await until.wait()
        except asyncio.CancelledError:
            self.done.append(("cancelled", what))
            raise
        self.done.append((what, asyncio.current_task()))


def test_it_works_in_order_in_one_task_that_rests_between(run: Run) -> None:
    async def scene() -> None:
        house = Scene()
        go_on = asyncio.Event()
        house.worker.take(house.note(1, go_on), exchange())
        house.worker.take(house.note(2), exchange())
        await turns()
        assert house.done == []
        go_on.set()
        await turns()
        house.worker.take(house.note(3), exchange())
        await turns()
        assert [what for what, _ in house.done] == [1, 2, 3]
        assert len({task for _, task in house.done}) == 1
        house.worker.stop(None)
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scene())


def test_what_has_not_begun_when_the_client_leaves_never_does(run: Run) -> None:
    class Waits:
        """Awaitable, and no coroutine."""

        def __await__(self) -> Generator[None, None, None]:
            raise AssertionError("nobody waits for it")

    async def scene() -> None:
        house = Scene()
        first, second = exchange(), exchange()
        house.worker.take(house.note(1, asyncio.Event()), first)
        await turns()
        house.worker.take(house.note(2), second)
        house.worker.take(cast("Awaitable[None]", Waits()), exchange())
        house.worker.stop(first)
        await turns()
        assert house.done == [("cancelled", 1)]
        assert cast("Answer", first).aborted
        assert house.crashes == []

    run(scene())


def test_a_client_that_leaves_just_as_it_is_called_finds_it_at_rest(run: Run) -> None:
    async def scene() -> None:
        house = Scene()
        house.worker.take(house.note(1), exchange())
        await turns()
        late = exchange()
        house.worker.take(house.note(2), late)
        house.worker.stop(late)
        await turns()
        assert [what for what, _ in house.done] == [1]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scene())


def test_a_handler_that_breaks_its_connection_off_goes_on(run: Run) -> None:
    async def scene() -> None:
        house = Scene()
        mine = exchange()
        go_on = asyncio.Event()

        async def handler() -> None:
            house.worker.spare()
            await house.note("spared", go_on)

        house.worker.spare()  # by somebody else: nothing changes
        house.worker.take(handler(), mine)
        await turns()
        house.worker.stop(mine)
        go_on.set()
        await turns()
        assert [what for what, _ in house.done] == ["spared"]

    run(scene())


def test_what_a_handler_lets_escape_or_leaves_unanswered_is_told(run: Run) -> None:
    async def scene() -> None:
        house = Scene()

        async def broken() -> None:
            raise KeyError("a defect")

        house.worker.take(broken(), exchange())
        house.worker.take(house.note(1), exchange(closed=False))
        house.worker.take(house.note(2), exchange())
        await turns()
        assert [type(error) for error in house.crashes] == [KeyError, RuntimeError]
        assert [what for what, _ in house.done] == [1, 2]
        house.worker.stop(None)
        await turns()

    run(scene())
