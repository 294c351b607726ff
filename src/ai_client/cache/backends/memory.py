"""Answers in memory: the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from ai_client.cache.base import CacheStats, Entry
from ai_client.clock import Clock

_OVERHEAD: Final = 600
"""Bytes of an entry besides its contents: measured on CPython 3.11 with a usual head of four fields, rounded up."""
_OVERHEAD_PER_HEADER: Final = 160


class MemoryCache:
    """At most `max_bytes` of answers. For one event loop: not to be shared between threads."""

    instant: Final = True

    def __init__(self, clock: Clock, max_bytes: int) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[Entry, int]] = OrderedDict()
        self._bytes = 0
        self._evictions = 0

    def get_nowait(self, key: bytes) -> Entry | None:
        """The answer under `key`, if there is one and it is still good."""
        found = self._entries.get(key)
        if found is None:
            return None
        entry = found[0]
        if entry.expires_unix_ns <= self._clock.unix_ns():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    async def get(self, key: bytes) -> Entry | None:
        """As `get_nowait`."""
        return self.get_nowait(key)

    def put_nowait(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """Keep `entry` for `ttl_ns` from its `stored_unix_ns`, and drop what was used least recently to make room."""
        self._drop(key)
        entry = entry.until(ttl_ns)
        size = _size(key, entry)
        if entry.expires_unix_ns <= self._clock.unix_ns() or size > self._max_bytes:
            return
        self._entries[key] = (entry, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))
            self._evictions += 1

    async def put(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """As `put_nowait`."""
        self.put_nowait(key, entry, ttl_ns)

    def stats(self) -> CacheStats:
        """What is held now, expired answers that nobody asked for since included."""
        return CacheStats(len(self._entries), self._bytes, self._evictions)

    async def close(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._bytes = 0
        self._max_bytes = 0

    def _drop(self, key: bytes) -> None:
        found = self._entries.pop(key, None)
        if found is not None:
            self._bytes -= found[1]


def _size(key: bytes, entry: Entry) -> int:
    head = sum(len(name) + len(value) + _OVERHEAD_PER_HEADER for name, value in entry.headers)
    return len(key) + len(entry.body) + len(entry.model) + head + _OVERHEAD
