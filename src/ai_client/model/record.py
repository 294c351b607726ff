"""What happened to one call: filled in by the stages it passes, read by the telemetry when it ends."""

from __future__ import annotations

import msgspec

from ai_client.model.usage import BROKEN, NO_USAGE, Lost, Usage, plus


class Record(msgspec.Struct, gc=False):
    """The one mutable thing that travels with a call. Each field has one writer, named here.

    Times are nanoseconds; `started_ns` is of the monotonic clock, `unix_ns` of the calendar. Money is nano-dollars.
    """

    request_id: str
    endpoint: str
    app: str
    tag: str
    priority: int
    stream: bool
    started_ns: int
    unix_ns: int
    asked_model: str = ""
    model: str = ""  # routed: the model that answered
    target: str = ""  # retried: provider/model of the last attempt
    attempts: int = 0  # send; hedged, for the second request, whose own record is another
    sent_ns: int = 0  # timed: when the attempt under way went out, of the monotonic clock; 0 while none is out
    hedge: str = ""  # hedged: "won", "lost" or "failed", of the second request; "" where there was none
    avoid: str = ""  # hedged: a target that failed as a second request, and is not to be asked once more
    cache: str = ""  # cached: "hit", "miss", "coalesced", or "" when the cache had no say
    queue_ns: int = 0  # limited, adapted: summed over the attempts
    queue_position: int = 0  # limited: its place when it began to wait, from 1; 0 without a wait
    queue_expected_ns: int = 0  # limited: what it had to expect then
    commit: str = ""  # send: "whole" when a stream was held until it was, otherwise ""
    came: int = 0  # send: characters of a held stream that was given up; accounted takes them from here
    first_byte_ns: int = 0  # send: from the start of the call to its first content
    duration_ns: int = 0  # observed
    status: int = 0  # observed
    error: str = ""  # observed: the error's code
    usage: Usage = NO_USAGE  # accounted: of the attempt that answered
    billed: str = ""  # accounted: the provider/model whose count `usage` is
    cost_nano: int = 0  # accounted: summed over all attempts, the lost ones too
    unpriced: bool = False  # accounted: some of what was spent has no known price, and is not in `cost_nano`
    lost: tuple[Lost, ...] = ()  # accounted: what other attempts cost
    bytes_in: int = 0  # the front door
    bytes_out: int = 0  # observed; of a stream, the front door

    def book(self, target: str, usage: Usage, nano: int) -> None:
        """An attempt at `target` (`provider/model`) answered, or began to, and cost this. Of several the last counts as
        the answer's; what came before was the beginning of it.
        """
        if self.billed:
            self.supersede(BROKEN)
        self.usage = usage
        self.billed = target
        self.cost_nano += nano

    def supersede(self, why: str) -> None:
        """What was booked last was not the answer, or not all of it: it stays spent."""
        model = self.billed.partition("/")[2]
        self.lost += (Lost(self.billed, model, self.usage, self.cost_nano - self.lost_nano, why),)
        self.usage = NO_USAGE
        self.billed = ""

    def lose(self, lost: Lost) -> None:
        """An attempt cost this, and its answer was not the call's."""
        self.cost_nano += lost.cost_nano
        self.lost += (lost,)

    @property
    def spent(self) -> Usage:
        """The tokens of all attempts together: what `cost_nano` was paid for. `estimated` if any of it is."""
        total = self.usage
        for each in self.lost:
            total = plus(total, each.usage)
        return total

    @property
    def lost_nano(self) -> int:
        """That part of `cost_nano` which was paid for the lost attempts."""
        return sum(each.cost_nano for each in self.lost)
