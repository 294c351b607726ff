"""Two requests for one answer: who is ahead, what becomes of the other, and what both cost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from ai_client.model.call import Target
from ai_client.model.record import Record
from ai_client.model.reply import Reply, StreamEnd
from ai_client.model.usage import HEDGE, NO_USAGE


def side_record(record: Record, target: Target) -> Record:
    """A record beside the call's own, for the second request: the same call, nothing spent."""
    return msgspec.structs.replace(
        record, target=target.name, attempts=1, queue_ns=0, sent_ns=0, cost_nano=0, lost=(), usage=NO_USAGE, billed=""
    )


class Race:
    """`first` fills in the call's own `record`; the second, once there is one, a record beside it.

    Whichever answer is returned has to be taken by `first_wins` or `second_wins`, and `clear` awaited after it,
    however the race ended: it stops who still runs, closes what nobody will read, and books what the loser cost.
    """

    __slots__ = ("_known", "_second", "_side", "_winner", "first", "record")

    def __init__(self, record: Record, first: asyncio.Future[Reply]) -> None:
        self.record = record
        self.first = first
        self._second: asyncio.Future[Reply] | None = None
        self._side: Record | None = None
        self._winner: asyncio.Future[Reply] | None = None
        self._known = len(record.lost)

    def enter(self, second: asyncio.Future[Reply], side: Record) -> None:
        """A second request, and the record that it fills in."""
        self._second, self._side = second, side

    @property
    def running(self) -> list[asyncio.Future[Reply]]:
        """Who has not come in yet."""
        return [each for each in (self.first, self._second) if each is not None and not each.done()]

    def first_wins(self) -> Reply:
        """The first's answer; raises what it raised."""
        reply = self.first.result()
        self._winner = self.first
        return reply

    def second_wins(self) -> Reply:
        """The second's answer; the record now tells of it."""
        assert self._second is not None
        assert self._side is not None
        reply = self._second.result()
        self._winner = self._second
        record, side = self.record, self._side
        record.model, record.target, record.first_byte_ns = side.model, side.target, side.first_byte_ns
        record.commit, record.hedge = side.commit, "won"
        return reply

    async def clear(self) -> None:
        """See the class. Raises `CancelledError`, and lets the winner's answer go, if the caller leaves meanwhile."""
        losers = [each for each in (self.first, self._second) if each is not None and each is not self._winner]
        left = await _stop(losers)
        for loser in losers:
            if not loser.cancelled() and loser.exception() is None:
                await _close(loser.result())
                if loser is self.first:
                    self.record.supersede(HEDGE)
        self._book()
        if left:
            if self._winner is not None:
                await _close(self._winner.result())
            raise asyncio.CancelledError

    def _book(self) -> None:
        record, side = self.record, self._side
        if side is None or self._second is None:
            return
        if self._winner is not self._second:
            if side.billed:  # it came in all the same, too late
                side.supersede(HEDGE)
            for each in side.lost:
                record.lose(msgspec.structs.replace(each, why=HEDGE))
            return
        marked = [msgspec.structs.replace(each, why=HEDGE) for each in record.lost[self._known :]]
        record.lost = (*record.lost[: self._known], *marked)
        stream = self._second.result().stream
        if stream is None:
            _take_over(record, side)
        else:
            stream.on_end(partial(_stream_ended, record, side))


def _stream_ended(record: Record, side: Record, _end: StreamEnd) -> None:
    _take_over(record, side)


def _take_over(record: Record, side: Record) -> None:
    """The second request's answer is the call's, with all that it cost."""
    nano = side.cost_nano - side.lost_nano
    for each in side.lost:
        record.lose(each)
    record.book(side.billed, side.usage, nano)


async def _stop(racers: Sequence[asyncio.Future[Reply]]) -> bool:
    """Cancel, and wait until they have let go of everything. Was the waiting itself cancelled?"""
    left = False
    for each in racers:
        each.cancel()
    while running := [each for each in racers if not each.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError:
            left = True  # they are letting go: nothing of theirs takes time
    return left


async def _close(reply: Reply) -> None:
    if reply.stream is not None:
        await reply.stream.aclose()
