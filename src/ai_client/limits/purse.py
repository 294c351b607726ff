"""What the fleet lent to this process of one rate, and its own share of it for when the fleet's store is away."""

from __future__ import annotations

from collections import deque

from ai_client.limits.base import Rate
from ai_client.limits.bucket import Bucket
from ai_client.limits.lease import UNTOLD, WHOLE

_NEVER = 1 << 62


class Purse:
    """Units in hand, each until its lease ends; see `limits.gate.Meter`.

    Units are spent oldest first. So whatever is in hand when a lease ends is at most what was lent later, and the rest
    is gone: that is all the bookkeeping there is, and spending is a subtraction.
    """

    __slots__ = ("_crowd", "_expiry", "_lent", "balance", "most", "rate", "share", "shared")

    def __init__(self, rate: Rate, now_ns: int) -> None:
        """It begins empty."""
        self.rate = rate
        self.balance = 0
        self.share: Bucket | None = None
        self.shared = 0  # spent of the share
        self.most = UNTOLD  # of the whole limit, as the provider said since the store was asked last
        self._lent: deque[tuple[int, int]] = deque()
        self._expiry = _NEVER
        self._crowd = WHOLE

    def lend(self, units: int, expiry_ns: int, crowd: int) -> None:
        """So many more, until then; the limit is shared by `crowd` millionths, oneself included."""
        self._crowd = crowd
        if units > 0:
            self._lent.append((expiry_ns, units))
            self._expiry = self._lent[0][0]
            self.balance += units

    def prune(self, now_ns: int) -> None:
        """Let go of what was lent until now."""
        lent = self._lent
        while lent and lent[0][0] <= now_ns:
            lent.popleft()
        self.balance = min(self.balance, sum(units for _, units in lent))
        self._expiry = lent[0][0] if lent else _NEVER

    def part_with(self, units: int) -> int:
        """Give up to so many back, the youngest; or, when in debt, the debt. Returns what the store is to add."""
        if self.balance < 0:
            owed, self.balance = self.balance, 0
            return owed
        back = units = max(0, min(units, self.balance))
        self.balance -= units
        while units:
            expiry, lent = self._lent.pop()
            if lent > units:
                self._lent.append((expiry, lent - units))
                break
            units -= lent
        self._expiry = self._lent[0][0] if self._lent else _NEVER
        return back

    def go_alone(self, share: int, now_ns: int) -> None:
        """The store is away: from now on, spend so many millionths of the rate, from nothing."""
        rate = self.rate
        self.share = Bucket(
            rate.amount * share, max(1, rate.burst * share // WHOLE), now_ns, period_ns=rate.period_ns * WHOLE
        )
        self.share.empty(now_ns)

    def lower(self, units: int, now_ns: int) -> None:
        """The provider says that no more than `units` are left for all: the store will be told, too."""
        self.prune(now_ns)
        self.most = units if self.most == UNTOLD else min(self.most, units)
        self.balance = min(self.balance, units)
        if self.share is not None:
            self.share.lower(units, now_ns)

    def try_take(self, units: int, now_ns: int) -> bool:
        """Take `units` if they are in hand."""
        if now_ns >= self._expiry:
            self.prune(now_ns)
        if units <= self.balance:
            self.balance -= units
            return True
        if self.share is not None and self.share.try_take(units, now_ns):
            self.shared += units
            return True
        return False

    def wait_ns(self, units: int, now_ns: int) -> int:
        """0 when they are in hand; of the share, when they will have grown; otherwise the store will tell: -1."""
        if now_ns >= self._expiry:
            self.prune(now_ns)
        if units <= self.balance:
            return 0
        return -1 if self.share is None else self.share.wait_ns(units, now_ns)

    def wait_behind_ns(self, units: int, ahead: int, now_ns: int) -> int:
        """What to expect, by the part of the rate that has come here of late."""
        if self.share is not None:
            return self.share.wait_behind_ns(units, ahead, now_ns)
        lacking = units + ahead - max(self.balance, 0)
        return max(0, lacking) * self.rate.period_ns * self._crowd // (self.rate.amount * WHOLE)

    def take(self, units: int) -> None:
        """Take them, be they there or not. What comes back is good for as long as what was lent last."""
        if units > 0 and units <= self.balance:
            self.balance -= units
        elif self.share is not None:
            self.share.take(units)
            self.shared += units
        else:
            self.balance -= units
            if units < 0:
                expiry, lent = self._lent.pop() if self._lent else (_NEVER - 1, 0)
                self._lent.append((expiry, lent - units))
                self._expiry = self._lent[0][0]

    def cost_ns(self, units: int) -> int:
        """In what time the whole limit yields `units`."""
        return units * self.rate.period_ns // self.rate.amount

    def part_ns(self, units: int) -> int:
        """In what time the part that has come here of late yields `units`; 0 where this member's share is spent."""
        return 0 if self.share is not None else self.cost_ns(units) * self._crowd // WHOLE

    def available(self, now_ns: int) -> int:
        """Whole units in hand; of the share when there are more."""
        self.prune(now_ns)
        return self.balance if self.share is None else max(self.balance, self.share.available(now_ns))
