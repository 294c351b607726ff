"""Who is let in when there is more work than can be held: a decision before anything of a request is read.

A bound on what is under way keeps the latency of what is admitted flat, whatever is offered: by Little's law it is what
is under way, divided by what is answered a second.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ai_client.clock import Clock
from ai_client.config.guard import Admission as Settings
from ai_client.errors import OverloadedError

_NS: Final = 1_000_000_000
_SPAN_NS: Final = 10 * _NS
_SHORTEST, _LONGEST = 1.0, 60.0
_FIRST, _LAST = 10, 1  # priorities


class Admission:
    """Bounds the calls under way, the bytes of their bodies and the process's memory; the low priorities have the
    smaller part of each.

    `shed` counts those refused, by priority. It outlives a reload. `resident` is the memory in bytes as it was last
    measured, by whoever has `max_resident` (0: no bound) to keep.
    """

    __slots__ = (
        "_admitted",
        "_clock",
        "_max_bytes",
        "_max_calls",
        "_rooms",
        "_since_ns",
        "_turned_away",
        "max_resident",
        "resident",
        "shed",
    )

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rooms: tuple[float, ...] = ()
        self._max_calls = self._max_bytes = self.max_resident = self.resident = 0
        self._admitted = self._turned_away = self._since_ns = 0
        self.shed: Counter[int] = Counter()

    def set(self, settings: Settings) -> Admission | None:
        """Take these bounds from now on; None where there is no bound, so that nobody need ask."""
        self._max_calls = settings.max_in_flight
        self._max_bytes = settings.max_memory_mb << 20
        self.max_resident = settings.max_rss_mb << 20
        least = settings.low_priority_percent / 100
        steps = _FIRST - _LAST
        self._rooms = tuple(least + (1 - least) * step / steps for step in range(steps + 1))
        return self if self._max_calls or self._max_bytes or self.max_resident else None

    @property
    def tight(self) -> bool:
        """Is memory so short that somebody is refused for it?"""
        return bool(self.max_resident) and self.resident > self.max_resident * self._rooms[0]

    def admit(self, in_flight: int, held: int, size: int, priority: int) -> None:
        """Let a call of `size` bytes in beside what is under way. Raises `OverloadedError`, with a Retry-After."""
        room = self._rooms[min(max(priority, _LAST), _FIRST) - _LAST]
        self._turn()
        calls, octets = self._max_calls * room, self._max_bytes * room
        # one call is let in however large it is: waiting would not make it smaller
        if (
            (calls and in_flight and in_flight + 1 > calls)
            or (octets and held and held + size > octets)
            or (self.max_resident and in_flight and self.resident + size > self.max_resident * room)
        ):
            self.shed[priority] += 1
            self._turned_away += 1
            memory = f", {self.resident >> 20} MiB of memory" if self.max_resident else ""
            raise OverloadedError(
                f"more is here than is admitted ({in_flight} calls, {held >> 20} MiB under way{memory}; [admission] "
                f"gives priority {priority} {room:.0%} of its bounds): come back later, or with a higher priority",
                retry_after=self._wait(),
            )
        self._admitted += 1

    def _wait(self) -> float:
        """Seconds until all who were turned away lately could have been served, at the rate of late."""
        seconds = max((self._clock.monotonic_ns() - self._since_ns) / _NS, _SHORTEST)
        return min(max(self._turned_away * seconds / max(self._admitted, 1), _SHORTEST), _LONGEST)

    def _turn(self) -> None:
        """Halve what was counted every ten seconds: what is long past fades."""
        now = self._clock.monotonic_ns()
        if now - self._since_ns > _SPAN_NS:
            forget = now - self._since_ns > 2 * _SPAN_NS
            self._admitted = 0 if forget else self._admitted // 2
            self._turned_away = 0 if forget else self._turned_away // 2
            self._since_ns = now if forget else now - _SPAN_NS // 2
