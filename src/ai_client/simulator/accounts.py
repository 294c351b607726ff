"""Who calls: keys, and for each its quota, its prefix cache and its counters."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ai_client.errors import AuthenticationError
from ai_client.simulator.prefixes import PrefixCache
from ai_client.simulator.quota import Quota

_MOST_ACCOUNTS: Final = 10_000
_SHOWN_WHOLE: Final = 12  # characters: a shorter key is made up for a test and is shown as it is


class Counters(msgspec.Struct, gc=False):
    """What was asked and answered. Tokens and costs count the answers that were generated, faulty ones included."""

    requests: int = 0
    answered: int = 0
    rate_limited: int = 0
    faults: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0


class Account(msgspec.Struct):
    """One key's."""

    shown_key: str
    quota: Quota
    prefixes: PrefixCache
    counters: Counters


class Accounts:
    """All keys that called. Of very many, those that were opened first are forgotten."""

    __slots__ = ("_allowed", "_burst_seconds", "_by_key", "_rpm", "_tpm")

    def __init__(self, keys: Iterable[str], rpm: int, tpm: int, burst_seconds: float = 60.0) -> None:
        self._allowed = frozenset(key.encode() for key in keys)
        self._rpm = rpm
        self._tpm = tpm
        self._burst_seconds = burst_seconds
        self._by_key: OrderedDict[bytes, Account] = OrderedDict()

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_key.values())

    def open(self, authorization: bytes | None, now_ns: int) -> Account:
        """The account of a request's `authorization` header. Raises `AuthenticationError`, as a provider would."""
        scheme, _, key = (authorization or b"").partition(b" ")
        key = key.strip()
        account = self._by_key.get(key)
        if account is not None and scheme.lower() == b"bearer":
            return account
        if not key or scheme.lower() != b"bearer":
            raise AuthenticationError("no API key was sent: send it as 'Authorization: Bearer KEY'")
        if self._allowed and key not in self._allowed:
            raise AuthenticationError("the API key is not one that this provider knows")
        account = Account(
            _shown(key), Quota(self._rpm, self._tpm, now_ns, self._burst_seconds), PrefixCache(), Counters()
        )
        self._by_key[key] = account
        if len(self._by_key) > _MOST_ACCOUNTS:
            self._by_key.popitem(last=False)
        return account

    def clear(self) -> None:
        """Forget every key: quotas are full again."""
        self._by_key.clear()


def _shown(key: bytes) -> str:
    text = key.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN_WHOLE else f"{text[:6]}…{text[-4:]}"
