"""All limits that this process shares with others: renewed in the background, never on a call's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ai_client.clock import Clock
from ai_client.limits.base import Settings
from ai_client.limits.gate import Gate
from ai_client.limits.hearsay import Hearsay
from ai_client.limits.lease import Ask, LeaseStore, StoreAwayError
from ai_client.limits.member import Member, Mode, Terms
from ai_client.limits.supply import IDLE_NS, PATIENCE, Supply


class Fleet:
    """Makes gates whose quota is lent by the store, and keeps them supplied by one task."""

    def __init__(
        self,
        store: LeaseStore,
        terms: Terms,
        clock: Clock,
        *,
        on_mode: Callable[[Mode, str], None],
        on_pause: Callable[[str, int], None],
    ) -> None:
        """`on_mode(mode, why)` hears of every change of the worst mode; `on_pause(target, ns)` of others' pauses."""
        self._store = store
        self._terms = terms
        self._clock = clock
        self._on_mode = on_mode
        self._on_pause = on_pause
        self._members: dict[str, Member] = {}
        self._supply = Supply(self._turn, clock)
        self.mode = Mode.JOINING
        self.trips = 0
        self.failures = 0
        self.hearsay: Hearsay | None = None

    @property
    def members(self) -> int:
        """How many members the store last counted, at the limit that has most."""
        return max((each.members for each in self._members.values()), default=0)

    @property
    def share(self) -> float:
        """The smallest part of any limit that is this member's when the store is away; 0 before anything is heard."""
        return min((each.share for each in self._members.values() if each.present), default=0.0)

    def make(self, limit: str, said: str, settings: Settings, *, keep: bool) -> Gate:
        """A gate for a limit of that name. One that is not to be kept is left while nobody uses it."""
        member = Member(limit, said, settings, self._terms, self._clock, keep=keep)
        member.wake = self._supply.call
        self._members[limit] = member
        self._supply.call()
        return member.gate

    def pause(self, target: str, ns: int) -> None:
        """Tell the others that this target, `provider/model`, wants to be left alone."""
        member = self._members.get("provider:" + target.partition("/")[0])
        if member is not None:
            member.pause(target, -(-ns // 1_000_000))

    def forget(self, limit: str) -> None:
        """This limit is no longer configured here."""
        self._members.pop(limit, None)

    async def close(self) -> None:
        """Return everything, so that others need not wait for the leases' end."""
        await self._supply.stop()
        now = self._clock.monotonic_ns()
        asks = [ask for each in self._members.values() if (ask := each.ask(now, leaving=True)) is not None]
        if asks and self.mode is Mode.SHARED:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._store.exchange(asks)
            except (StoreAwayError, TimeoutError):
                pass  # the leases end by themselves
        await self._store.close()

    def spread(self) -> None:
        """A provider said something new of its limits: the others are to know."""
        if self.hearsay is not None:
            self.hearsay.due_ns = 0
            self._supply.call()

    async def _turn(self, now: int) -> int:
        due = [each for each in self._members.values() if each.due_ns <= now]
        if due:
            await self._renew(due, now)
        if self.hearsay is not None and self.hearsay.due_ns <= self._clock.monotonic_ns():
            await self._exchange_words(self.hearsay)
        moments = [each.due_ns for each in (*self._members.values(), self.hearsay) if each is not None]
        return min(moments, default=now + IDLE_NS)

    async def _exchange_words(self, hearsay: Hearsay) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await hearsay.exchange(self._store)
        except (StoreAwayError, TimeoutError):
            self.failures += 1  # the limits' own renewals say more of it

    async def _renew(self, due: list[Member], now: int) -> None:
        asked: list[tuple[Member, Ask]] = [(each, ask) for each in due if (ask := each.ask(now)) is not None]
        if not asked:
            return
        self.trips += 1
        why = ""
        try:
            async with asyncio.timeout(PATIENCE):
                answers = await self._store.exchange([ask for _, ask in asked])
        except (StoreAwayError, TimeoutError) as error:
            self.failures += 1
            why = str(error) or f"no answer within {PATIENCE:g} s"
            now = self._clock.monotonic_ns()
            for each, ask in asked:
                each.pauses[:0] = ask.pauses
                each.failed(now)
        else:
            now = self._clock.monotonic_ns()
            for (each, _), answer in zip(asked, answers, strict=True):
                each.heard(answer, now)
                for target, ms in answer.pauses:
                    self._on_pause(target, ms * 1_000_000)
        self._judge(why)

    def _judge(self, why: str) -> None:
        """The worst mode of any limit is the fleet's."""
        order = list(Mode)
        modes = [each.mode for each in self._members.values() if each.present or each.mode is Mode.JOINING]
        worst = max(modes, key=order.index, default=self.mode)
        if worst is not self.mode or (why and worst is Mode.JOINING and self.failures == 1):
            self.mode = worst
            self._on_mode(worst, why)
