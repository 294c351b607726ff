"""What providers told one member of their limits, told to the others: who has not asked yet keeps to it as well."""

from __future__ import annotations

from typing import Final

import msgspec

from ai_client.clock import Clock
from ai_client.limits.base import Kind
from ai_client.limits.heed import KEPT_NS, Heed
from ai_client.limits.lease import LeaseStore

_EVERY_NS: Final = 60_000_000_000
_AGAIN_MS: Final = 600_000  # a word that the store has is written again after so long, so that it is not forgotten
_MS: Final = 1_000_000


class _Kept(msgspec.Struct, frozen=True):
    """One model's limits by the minute, by the names of their kinds, and when they were heard."""

    unix_ms: int
    limits: dict[str, int]


_words = msgspec.json.Decoder(dict[str, _Kept])


class Hearsay:
    """Exchanges words with the fleet's store: each minute, and when something new was heard (`due_ns` 0)."""

    def __init__(self, heed: Heed, clock: Clock) -> None:
        self._heed = heed
        self._clock = clock
        self.due_ns = 0

    async def exchange(self, store: LeaseStore) -> None:
        """Hear what others heard, and tell what they do not know. Raises `StoreAwayError`."""
        now = self._clock.monotonic_ns()
        self.due_ns = now + _EVERY_NS
        unix_ms = self._clock.unix_ns() // _MS
        for provider in self._heed.names:
            theirs = _read(await store.told(provider))
            for model, kept in theirs.items():
                limits = {Kind[name.upper()]: limit for name, limit in kept.limits.items()}
                age_ns = max(0, unix_ms - kept.unix_ms) * _MS
                if age_ns <= KEPT_NS:
                    self._heed.learn(provider, model, limits, age_ns)
            ours = {
                model: _Kept(
                    unix_ms - (now - word.heard_ns) // _MS,
                    {kind.name.lower(): limit for kind, limit in word.limits.items()},
                )
                for model, word in self._heed.words.get(provider, {}).items()
                if word.limits
            }
            if any(_is_news(kept, theirs.get(model)) for model, kept in ours.items()):
                await store.tell(provider, msgspec.json.encode(ours), KEPT_NS // _MS)


def _is_news(ours: _Kept, theirs: _Kept | None) -> bool:
    return theirs is None or ours.limits != theirs.limits or ours.unix_ms > theirs.unix_ms + _AGAIN_MS


def _read(text: bytes | None) -> dict[str, _Kept]:
    """What a member wrote; nothing of what this version cannot read."""
    try:
        found = _words.decode(text or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    known = {kind.name.lower() for kind in Kind}
    return {
        model: kept
        for model, kept in found.items()
        if kept.limits and kept.limits.keys() <= known and all(limit > 0 for limit in kept.limits.values())
    }
