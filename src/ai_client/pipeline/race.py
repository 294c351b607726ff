"""Two requests for one answer: who is ahead, what becomes of the other, and what both cost."""

from __future__ import annotations

import asyncio
from functools import partial

import msgspec

from ai_client.cost.budget import Held
from ai_client.model.call import Target
from ai_client.model.record import Record
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.usage import HEDGE, NO_USAGE


def side_record(record: Record, target: Target) -> Record:
    """A record beside the call's own, for the second request: the same call, nothing spent."""
    return msgspec.structs.replace(
        record,
        target=target.name,
        attempts=0,
        queue_ns=0,
        sent_ns=0,
        cost_nano=0,
        unpriced=False,
        lost=(),
        usage=NO_USAGE,
        billed="",
    )


class Race:
    """The first request runs in the caller's own task, `task`, and fills in the call's own `record`; the second, once
    there is one, in a task of its own with a record beside it. So a call that is not late costs no task.

    Whichever answer is returned has to be taken by `first_wins` or `second_wins`, and `clear` awaited after it,
    however the race ended: it stops the second, closes what nobody will read, and books what the loser cost.
    """

    __slots__ = ("_asked", "_interrupted", "_known", "_side", "_winner", "held", "over", "record", "second", "task")

    def __init__(self, record: Record, task: asyncio.Task[object]) -> None:
        self.record = record
        self.task = task
        self.second: asyncio.Task[Reply] | None = None
        self.held: Held | None = None
        self.over = False
        """The first is: it answered, or failed, or was cancelled."""
        self._side: Record | None = None
        self._winner: Reply | None = None
        self._known = len(record.lost)
        self._asked = task.cancelling()
        self._interrupted = False

    def enter(self, second: asyncio.Task[Reply], side: Record) -> None:
        """A second request, and the record that it fills in."""
        self.second, self._side = second, side

    def interrupt(self) -> None:
        """The second is there: the first need not go on."""
        if not self.over:
            self._interrupted = True
            self.task.cancel()

    def interrupted(self) -> bool:
        """The first is over: by `interrupt`, and by nobody else? Its cancel is taken back, as by `asyncio.timeout`."""
        self.over = True
        return self._interrupted and self.task.uncancel() <= self._asked

    def first_wins(self, reply: Reply) -> Reply:
        """The first's answer."""
        self._winner = reply
        return reply

    def second_wins(self) -> Reply:
        """The second's answer, or what it raised; the record now tells of it."""
        assert self.second is not None
        assert self._side is not None
        reply = self._winner = self.second.result()
        record, side = self.record, self._side
        record.model, record.target, record.first_byte_ns = side.model, side.target, side.first_byte_ns
        record.commit, record.hedge = side.commit, "won"
        marked = [msgspec.structs.replace(each, why=HEDGE) for each in record.lost[self._known :]]
        record.lost = (*record.lost[: self._known], *marked)
        if reply.stream is None:
            _take_over(record, side)
        else:
            reply.stream.on_end(partial(_stream_ended, record, side))
        return reply

    async def clear(self) -> None:
        """See the class. Raises `CancelledError`, and lets the winner's answer go, if the caller leaves meanwhile."""
        second, side = self.second, self._side
        assert second is not None
        assert side is not None
        left = await _stop(second)
        if second.cancelled() or second.exception() is not None or second.result() is not self._winner:
            if not second.cancelled() and second.exception() is None:  # it came in all the same, too late
                await _close(second.result())
            if side.billed:
                side.supersede(HEDGE)
            self.record.unpriced |= side.unpriced
            for each in side.lost:
                self.record.lose(msgspec.structs.replace(each, why=HEDGE))
        if self.held is not None:
            self.held.settle(0)  # what it cost is part of what the call cost
        if left:
            if self._winner is not None:
                await _close(self._winner)
            raise asyncio.CancelledError


def _stream_ended(record: Record, side: Record, _end: StreamEnd) -> None:
    _take_over(record, side)


def _take_over(record: Record, side: Record) -> None:
    """The second request's answer is the call's, with all that it cost."""
    nano = side.cost_nano - side.lost_nano
    for each in side.lost:
        record.lose(each)
    record.book(side.billed, side.usage, nano)
    record.unpriced |= side.unpriced


async def _stop(second: asyncio.Task[Reply]) -> bool:
    """Cancel, and wait until it has let go of everything. Was the waiting itself cancelled?"""
    left = False
    second.cancel()
    while not second.done():
        try:
            await asyncio.wait((second,))
        except asyncio.CancelledError:
            left = True  # it is letting go: nothing of that takes time
    return left


async def _close(reply: Reply) -> None:
    if reply.stream is not None:
        await reply.stream.aclose()
