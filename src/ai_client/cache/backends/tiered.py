"""Memory in front of a slower place: what was asked for lately is at hand, and the rest survives a restart."""

from __future__ import annotations

from typing import Final

from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.base import CacheBackend, CacheStats, Entry


class TieredCache:
    """Reads from memory first, then from `below`; writes to both."""

    instant: Final = False

    def __init__(self, memory: MemoryCache, below: CacheBackend) -> None:
        self._memory = memory
        self._below = below

    def get_nowait(self, key: bytes) -> Entry | None:
        """The answer under `key`, if it is in memory and still good."""
        return self._memory.get_nowait(key)

    async def get(self, key: bytes) -> Entry | None:
        """The answer under `key`, if there is one and it is still good. Found below, it is in memory from then on."""
        entry = self._memory.get_nowait(key)
        if entry is None:
            entry = await self._below.get(key)
            if entry is not None:
                self._memory.put_nowait(key, entry, entry.expires_unix_ns - entry.stored_unix_ns)
        return entry

    def put_nowait(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """Keep `entry` in memory alone: an equal call may come before it is written below."""
        self._memory.put_nowait(key, entry, ttl_ns)

    async def put(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """Keep `entry` in both places for `ttl_ns` from its `stored_unix_ns`."""
        self._memory.put_nowait(key, entry, ttl_ns)
        await self._below.put(key, entry, ttl_ns)

    def stats(self) -> CacheStats:
        """What is held below, where everything is; the copies in memory do not count."""
        return self._below.stats()

    async def close(self) -> None:
        """Close both."""
        await self._memory.close()
        await self._below.close()
