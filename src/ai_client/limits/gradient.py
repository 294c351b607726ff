"""How many calls a target takes at once, found out from how it answers. Decides; does no I/O.

A gradient on latency, after the public description of Gradient2 in Netflix's concurrency-limits: while latency stays
within `tolerance` of what it is without a queue, the limit grows by half its square root; beyond, it shrinks in that
proportion. 429s and time-outs cut it at once, as a loss does in TCP (V. Jacobson, SIGCOMM 1988).

What differs, since these are language models:

- The signal of a stream is the time to its first content. A whole answer takes as long as it is long: its signal is its
  time divided by its output tokens and `_HEAD_TOKENS`, which stand for all that comes before the first. Each kind of
  signal is only compared with its own kind.
- A window ends after as many answers as were under way at once, not after a time; only calls that began after the last
  change count in it, so that the effect of one change is seen before the next, and slow answers as well as quick ones.
  Of a window the median counts: prompts differ.
- What latency is without a queue is not an average over all, which would follow a queue that stays. It follows the
  median down at once and up slowly, as long as that is near; where the limit was cut and latency did not follow, the
  target is merely slower than before, and that becomes what is usual.
"""

from __future__ import annotations

import math
from statistics import median
from typing import Final

import msgspec

FIRST_CONTENT: Final = 0
PER_TOKEN: Final = 1
"""Kinds of signal."""

_HEAD_TOKENS: Final = 64
_LEAST_ANSWERS: Final = 4
_MOST_ANSWERS: Final = 100
_NEAR: Final = 1.1  # within so much of the usual, a median teaches what is usual


class Pace(msgspec.Struct, frozen=True):
    """Bounds of the limit, where it begins, and how it moves.

    `tolerance` is how many times its usual latency a target may take; `backoff` what is left of the limit after a 429.
    """

    least: int = 2
    most: int = 200
    first: int = 10
    tolerance: float = 1.5
    backoff: float = 0.5


class AdaptiveLimit:
    """The limit of one target: `places`, at least `least` and at most `most`.

    Where a fleet has it together, `limit` is the fleet's and `held` what this member has of it: what it finds out moves
    the limit by no more than that part.
    """

    __slots__ = ("_changed_ns", "_cut_ns", "_from", "_peak", "_pending", "_seen", "_usual", "held", "limit", "pace")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.limit = float(pace.first)
        self.held: int | None = None
        self._pending = 0.0
        self._usual: list[float] = [0.0, 0.0]
        self._seen: tuple[list[float], list[float]] = ([], [])
        self._peak = 0
        self._changed_ns = -1
        self._cut_ns = -1
        self._from: tuple[float, float, int] = (0.0, 0.0, 0)

    @property
    def places(self) -> int:
        """Calls that may be under way at once."""
        return int(self.limit) if self.held is None else self.held

    def set(self, pace: Pace) -> None:
        """Other bounds from now on."""
        self.pace = pace
        self.limit = min(max(self.limit, float(pace.least)), float(pace.most))

    def told(self, limit: float, held: int) -> None:
        """The fleet's limit is this now, and so many places of it are this member's."""
        self.limit = max(1.0, limit + self._pending)
        self.held = held

    def alone(self, limit: float, share: int, held: int) -> None:
        """The fleet is out of reach, and last said this: what is used of the share is all there will be to tell."""
        self._pending = float(held - share)
        self.told(limit, held)

    def news(self) -> int:
        """What the fleet has not been told of yet, in thousandths of a place."""
        return round(self._pending * 1000)

    def heard(self, thousandths: int) -> None:
        """The fleet was told of so much."""
        self._pending -= thousandths / 1000

    def answered(self, began_ns: int, now_ns: int, in_flight: int, output_tokens: int | None) -> None:
        """A call that began then, as one of `in_flight`, was answered now.

        `output_tokens` is None for the first content of a stream, which counts no matter how long it becomes.
        """
        if began_ns <= self._changed_ns:
            return
        self._peak = max(self._peak, in_flight)
        took = max(1, now_ns - began_ns)
        if output_tokens is None:
            self._seen[FIRST_CONTENT].append(took)
        else:
            self._seen[PER_TOKEN].append(took / (_HEAD_TOKENS + output_tokens))
        if sum(map(len, self._seen)) >= max(_LEAST_ANSWERS, min(self._peak, _MOST_ANSWERS)):
            self._judge(now_ns)

    def dropped(self, began_ns: int, now_ns: int) -> bool:
        """A call that began then was refused for being too much, or was not answered in time.

        Of all that were under way when the limit was cut, none cuts it again. True where it was cut.
        """
        if began_ns <= self._cut_ns:
            return False
        self._cut_ns = now_ns
        self._move(self.limit * self.pace.backoff)
        if self.held is not None:
            self.held = max(min(1, self.held), int(self.held * self.pace.backoff))
        self._begin(now_ns)
        return True

    def _judge(self, now_ns: int) -> None:
        """A window is over."""
        kind = max(FIRST_CONTENT, PER_TOKEN, key=lambda each: len(self._seen[each]))
        now = median(self._seen[kind])
        used = 5 * self._peak >= 4 * self.places
        usual = self._usual[kind]
        if not usual or now < usual:
            usual = now if not usual else (usual + now) / 2
        elif now <= usual * _NEAR or not used or self.places <= self.pace.least:
            usual += (now - usual) / 10  # with so few under way, or so little beyond, it is not our own queue
        usual = self._slower(kind, now, usual)
        self._usual[kind] = usual
        room = max(1.0, math.sqrt(self.limit) / 2)
        wanted = self.limit * max(0.5, min(1.0, self.pace.tolerance * usual / now)) + room
        self._move(wanted if used else min(wanted, self.limit))
        self._begin(now_ns)

    def _slower(self, kind: int, now: float, usual: float) -> float:
        """Was the limit cut by three tenths, and latency did not follow? Then it is the target itself."""
        before, then, of_kind = self._from
        if of_kind != kind or not before or self.limit > before:
            self._from = (self.limit, now, kind)
        elif self.limit <= 0.7 * before:
            self._from = (self.limit, now, kind)
            if now > 0.9 * then and now > usual:
                return usual + (now - usual) / 4
        return usual

    def _move(self, limit: float) -> None:
        moved = limit
        if self.held is not None:
            # places that go round may be gone already when their call is answered
            part = max(self.held, self._peak, 1) / self.limit
            moved = self.limit + (limit - self.limit) * min(1.0, part)
        moved = min(max(moved, float(self.pace.least)), float(self.pace.most))
        if self.held is not None:
            self._pending += moved - self.limit
        self.limit = moved

    def _begin(self, now_ns: int) -> None:
        """The next window: of calls that begin from now on."""
        self._changed_ns = now_ns
        self._peak = 0
        for seen in self._seen:
            seen.clear()
