"""Budgets: what may be spent in a calendar day, by each app and by all together. Arithmetic, and no I/O.

The day is the ledger's: the local calendar day on which a call began. An estimate is set aside before a call and
settled by what the call really cost, so that calls under way cannot spend the same dollar twice. Integers throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from ai_client.clock import local_day, next_local_day_ns
from ai_client.cost.base import Entry
from ai_client.errors import BudgetExceededError, RateLimitedError

ALL: Final = ""
"""The name under which the budget of all apps together is kept: no app can be called so."""

_SOON: Final = 1.0  # seconds until it is worth asking again, where only calls under way stand in the way
_NO_APPS: Final[Mapping[str, int]] = MappingProxyType({})


class Account(msgspec.Struct):
    """One budget and its day so far, in nano-dollars; `refused` counts calls since the start of the process."""

    limit: int
    spent: int = 0
    reserved: int = 0
    refused: int = 0


class Held:
    """What is set aside for one call: `settle` it once."""

    __slots__ = ("_accounts", "_nano")

    def __init__(self, accounts: tuple[Account, ...], nano: int) -> None:
        self._accounts = accounts
        self._nano = nano

    def settle(self, spent: int) -> None:
        """The call is over and cost `spent` nano-dollars. On the day after, that is yesterday's, and counts no more."""
        for account in self._accounts:
            account.reserved -= self._nano
            account.spent += spent


class Budgets:
    """All budgets of this process. `on` is False where there are none: then nobody need ask."""

    def __init__(self, read: Callable[[str, str], Iterable[Entry]]) -> None:
        """`read(since_day, until_day)` gives the rows of the ledger; it is asked when the first budget is set."""
        self._read = read
        self._accounts: dict[str, Account] = {}
        self._day_ends_ns = 0

    @property
    def on(self) -> bool:
        """Is anything bounded?"""
        return bool(self._accounts)

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Every budget by its app's name; that of all is under `ALL`."""
        return self._accounts

    def set(self, total: int | None, apps: Mapping[str, int], unix_ns: int) -> None:
        """Bring the budgets to what is configured, in nano-dollars; what was spent today stays spent.

        A budget that is new begins with what the ledger has for today. Raises OSError when that cannot be read.
        """
        wanted = dict(apps) if total is None else {ALL: total, **apps}
        self._roll(unix_ns)
        spent = self._spent_today(unix_ns) if wanted.keys() - self._accounts.keys() else _NO_APPS
        kept = self._accounts
        self._accounts = {name: kept.get(name) or Account(limit, spent.get(name, 0)) for name, limit in wanted.items()}
        for name, limit in wanted.items():
            self._accounts[name].limit = limit

    def reserve(self, app: str, nano: int | None, unix_ns: int) -> Held:
        """Set aside what a call that begins now may cost; None where its model has no price.

        Raises `BudgetExceededError`, which says when the next day begins, or `RateLimitedError` where the budget would
        suffice if calls under way had not reserved the rest.
        """
        if unix_ns >= self._day_ends_ns:
            self._roll(unix_ns)
        accounts = tuple(self._accounts[name] for name in (app, ALL) if name in self._accounts)
        for account in accounts:
            if not _fits(account, account.spent + account.reserved, nano):
                account.refused += 1
                whose = "this daemon" if account is self._accounts.get(ALL) else f"the app {app!r}"
                raise self._refusal(account, whose, nano, unix_ns)
        for account in accounts:
            account.reserved += nano or 0
        return Held(accounts, nano or 0)

    def spare(self, app: str, nano: int | None, unix_ns: int) -> Held | None:
        """As `reserve`, for what can be left undone: None where the budget does not suffice, and nobody is refused."""
        if unix_ns >= self._day_ends_ns:
            self._roll(unix_ns)
        accounts = tuple(self._accounts[name] for name in (app, ALL) if name in self._accounts)
        if not all(_fits(account, account.spent + account.reserved, nano) for account in accounts):
            return None
        for account in accounts:
            account.reserved += nano or 0
        return Held(accounts, nano or 0)

    def _refusal(self, account: Account, whose: str, nano: int | None, unix_ns: int) -> RateLimitedError:
        dollars = f"{account.limit / 1e9:.9f}".rstrip("0").rstrip(".")
        if _fits(account, account.spent, nano):
            return RateLimitedError(
                f"what is left of today's budget of {whose}, {dollars} USD, is reserved by calls under way: try again",
                retry_after=_SOON,
            )
        return BudgetExceededError(
            f"this call would exceed the budget of {whose}, {dollars} USD a day: ask for less, wait for the next day "
            f"(of the daemon's local time), or raise budget_usd_per_day",
            retry_after=(self._day_ends_ns - unix_ns) / 1e9,
        )

    def _roll(self, unix_ns: int) -> None:
        """A new day: new accounts. Calls of the old day settle with the old ones, which nobody looks at any more."""
        if unix_ns < self._day_ends_ns:
            return
        first = not self._day_ends_ns
        self._day_ends_ns = next_local_day_ns(unix_ns)
        if not first:
            self._accounts = {
                name: Account(former.limit, refused=former.refused) for name, former in self._accounts.items()
            }

    def _spent_today(self, unix_ns: int) -> Mapping[str, int]:
        today = local_day(unix_ns)
        spent: dict[str, int] = {}
        for row in self._read(today, today):
            for name in (row.app, ALL):
                spent[name] = spent.get(name, 0) + row.cost_nano
        return spent


def _fits(account: Account, gone: int, nano: int | None) -> bool:
    """What costs nothing always fits; what has no price, while anything is left."""
    return gone < account.limit if nano is None else not nano or gone + nano <= account.limit
