"""What the cache keeps, and what a place to keep it in owes."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ai_client.model.call import Headers
from ai_client.model.usage import NO_USAGE, Usage


class Entry(msgspec.Struct, frozen=True):
    """One answer, as it was given.

    `body` is a whole JSON answer, or, where `streamed`, all the server-sent events of a stream, to the last byte.
    `headers` are those that the caller may see. `model` is the model that answered, `usage` what the answer cost then.
    Times are nanoseconds since 1970 UTC; `expires_unix_ns` is set by the backend that stores it.
    """

    status: int
    headers: Headers
    body: bytes
    streamed: bool
    model: str
    stored_unix_ns: int
    usage: Usage = NO_USAGE
    expires_unix_ns: int = 0

    def until(self, ttl_ns: int) -> Entry:
        """The same answer, good for `ttl_ns` from when it was stored."""
        return msgspec.structs.replace(self, expires_unix_ns=self.stored_unix_ns + ttl_ns)


class CacheStats(msgspec.Struct, frozen=True, gc=False):
    """What a backend holds: `entries`, their size in `bytes`, and how many `evictions` made room since it began."""

    entries: int
    bytes: int
    evictions: int


class CacheBackend(Protocol):
    """A place to keep answers in. A cache that fails says so once and answers nothing: it never raises."""

    @property
    def instant(self) -> bool:
        """Whether the two that do not wait see and keep everything, so that `get` and `put` have nothing to add."""

    def get_nowait(self, key: bytes) -> Entry | None:
        """The answer under `key`, if it is at hand without waiting and still good."""

    async def get(self, key: bytes) -> Entry | None:
        """The answer under `key`, if there is one and it is still good."""

    def put_nowait(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """As far as `put` does it without waiting: what `get_nowait` is to see from now on."""

    async def put(self, key: bytes, entry: Entry, ttl_ns: int) -> None:
        """Keep `entry` for `ttl_ns` from its `stored_unix_ns`, in place of what was there.

        Not at all if that is past, or if the entry alone is larger than all the room there is.
        """

    def stats(self) -> CacheStats:
        """What is held now, or was when the storage was last written to."""

    async def close(self) -> None:
        """Let go of files and threads. Harmless when repeated; afterwards there are no answers."""
