"""The same question again: answered from what was kept, or together with the one who is asking it now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from ai_client.cache.base import CacheBackend, Entry
from ai_client.cache.key import cache_key
from ai_client.cache.policy import CachePolicy
from ai_client.clock import Clock
from ai_client.errors import AIClientError, DeadlineExceededError
from ai_client.model.call import Call
from ai_client.model.record import Record
from ai_client.model.reply import Drain, Reply, Stream, StreamEnd, Write, relay_each
from ai_client.model.usage import NO_USAGE
from ai_client.pipeline.base import CallStage

_MAX_STREAM = 4 * 1024 * 1024
"""Bytes of a streamed answer up to which it is kept."""
_KEPT_HEADERS = frozenset({b"content-type", b"content-language"})
"""What a provider says of the answer itself; the rest is of its moment: dates, request ids, quota left."""


class CacheSettings(msgspec.Struct, frozen=True):
    """Where answers are kept and which. `scope` names the configuration that decides on them."""

    backend: CacheBackend
    policy: CachePolicy
    scope: str


class Cached:
    """Gives answers that are at hand, and lets equal calls share one: the first asks, the others wait for it.

    A waiting call whose leader is cancelled asks itself; one whose leader fails gets the same error, for its own try
    would only add load. Streams are kept and replayed, but not shared while they run.
    """

    __slots__ = ("_backend", "_clock", "_flights", "_inner", "_policy", "_scope", "_writes")

    def __init__(self, inner: CallStage, settings: CacheSettings, clock: Clock) -> None:
        self._inner = inner
        self._backend = settings.backend
        self._policy = settings.policy
        self._scope = settings.scope
        self._clock = clock
        self._flights: dict[bytes, asyncio.Future[Entry | None]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def __call__(self, call: Call) -> Reply:
        """Answer from the cache, or pass on and keep what comes."""
        if not call.cache or not self._policy.covers(call.endpoint, call.body):
            return await self._inner(call)
        key = cache_key(call.endpoint, call.path, f"{self._scope} {call.app}", call.headers, call.body)
        while True:
            entry = self._backend.get_nowait(key)
            if entry is None and not self._backend.instant:
                entry = await self._backend.get(key)
            if entry is not None:
                return _replay(entry, call.record, "hit")
            flight = None if call.fields.stream else self._flights.get(key)
            if flight is None:
                break
            entry = await self._wait_for(flight, call)
            if entry is not None:
                return _replay(entry, call.record, "coalesced")
        call.record.cache = "miss"
        if call.fields.stream:
            return self._recorded(key, await self._inner(call), call.record)
        return await self._lead(key, call)

    async def _wait_for(self, flight: asyncio.Future[Entry | None], call: Call) -> Entry | None:
        """What another call is asking already; None when that one was given up. The leader's deadline is its own."""
        left = (call.deadline_ns - self._clock.monotonic_ns()) / 1e9
        try:
            async with asyncio.timeout(left):
                # shielded: one who stops waiting must not stop the others
                return await asyncio.shield(flight)
        except TimeoutError:
            raise DeadlineExceededError("the call's time was up before an equal call had its answer") from None

    async def _lead(self, key: bytes, call: Call) -> Reply:
        flight: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        try:
            reply = await self._inner(call)
        except AIClientError as error:
            flight.set_exception(error)
            flight.exception()  # heard, should nobody else be waiting
            raise
        except BaseException:
            flight.set_result(None)
            raise
        else:
            entry = self._entry(reply, reply.body, call.record)
            if self._policy.keeps(reply.status):
                self._store(key, entry)
            flight.set_result(entry)
            return reply
        finally:
            # an error remembers this frame, and the flight the error: no circle may be left
            del self._flights[key], flight

    def _recorded(self, key: bytes, reply: Reply, record: Record) -> Reply:
        if reply.stream is not None and self._policy.keeps(reply.status):
            recording = _Recording(reply.stream)
            reply.stream = recording

            def keep(end: StreamEnd) -> None:
                if end.error is None and not end.cancelled and recording.whole:
                    self._store(key, self._entry(reply, recording.body(), record, streamed=True))

            recording.on_end(keep)
        return reply

    def _entry(self, reply: Reply, body: bytes, record: Record, *, streamed: bool = False) -> Entry:
        headers = [pair for pair in reply.headers if pair[0] in _KEPT_HEADERS]
        return Entry(reply.status, headers, body, streamed, record.model, self._clock.unix_ns(), reply.usage)

    def _store(self, key: bytes, entry: Entry) -> None:
        # at once, as far as that goes: the caller may ask again before anything else has its turn
        backend, ttl_ns = self._backend, self._policy.ttl_ns
        backend.put_nowait(key, entry, ttl_ns)
        if backend.instant:
            return
        # not awaited: the caller does not wait for the disk
        task = asyncio.get_running_loop().create_task(backend.put(key, entry, ttl_ns))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def _replay(entry: Entry, record: Record, answer: str) -> Reply:
    record.cache = answer
    record.model = entry.model
    headers = list(entry.headers)
    if entry.streamed:
        return Reply(entry.status, headers, b"", _Replay(entry.body), NO_USAGE)
    return Reply(entry.status, headers, entry.body, None, NO_USAGE)


class _Recording:
    """A stream that remembers what went through it."""

    __slots__ = ("_inner", "_pieces", "_size", "whole")

    def __init__(self, inner: Stream) -> None:
        self._inner = inner
        self._pieces: list[bytes] = []
        self._size = 0
        self.whole = True

    def body(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)

    def __aiter__(self) -> _Recording:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._inner.__anext__()
        self._remember(piece)
        return piece

    async def relay(self, write: Write, drain: Drain) -> None:
        """As the stream inside, remembering."""

        def remembering(piece: bytes) -> bool:
            self._remember(piece)
            return write(piece)

        await self._inner.relay(remembering, drain)

    def _remember(self, piece: bytes) -> None:
        if self.whole:
            self._size += len(piece)
            if self._size > _MAX_STREAM:
                self.whole = False
                self._pieces.clear()
            else:
                self._pieces.append(piece)

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """As the stream inside."""
        self._inner.on_end(finisher)

    async def aclose(self) -> None:
        """As the stream inside."""
        await self._inner.aclose()


class _Replay:
    """A stream that was kept: all its events at once."""

    __slots__ = ("_body", "_finishers")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._finishers: list[Callable[[StreamEnd], None]] = []

    def __aiter__(self) -> _Replay:
        return self

    async def __anext__(self) -> bytes:
        body, self._body = self._body, b""
        if body:
            return body
        self._end(cancelled=False)
        raise StopAsyncIteration

    async def relay(self, write: Write, drain: Drain) -> None:
        """All at once."""
        await relay_each(self, write, drain)

    def on_end(self, finisher: Callable[[StreamEnd], None]) -> None:
        """Have `finisher` called once, when the stream is over."""
        self._finishers.append(finisher)

    async def aclose(self) -> None:
        """Give the stream up."""
        self._end(cancelled=bool(self._body))

    def _end(self, *, cancelled: bool) -> None:
        finishers, self._finishers = self._finishers, []
        for finisher in finishers:
            finisher(StreamEnd(None, NO_USAGE, cancelled))
