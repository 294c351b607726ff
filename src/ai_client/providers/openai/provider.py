"""An endpoint that speaks OpenAI's dialect: one try, sent and understood."""

from __future__ import annotations

import asyncio
import zlib
from functools import partial

import msgspec

from ai_client.clock import Clock
from ai_client.errors import BrokenReplyError, OverloadedError
from ai_client.model.call import Attempt, Headers
from ai_client.model.reply import Reply
from ai_client.model.request import OTHER, Endpoint
from ai_client.model.usage import NO_USAGE, Count, by_length
from ai_client.providers.commit import AS_IT_COMES, Commit
from ai_client.providers.openai.answers import read_answer, written
from ai_client.providers.openai.judges import ChunkJudge, Judge, ResponseJudge
from ai_client.providers.openai.refusals import blot, refusal
from ai_client.providers.openai.stream import EventStream, RawStream
from ai_client.providers.openai.wire import Wire
from ai_client.transport.http import HOP_BY_HOP, find_header
from ai_client.transport.incoming import Incoming
from ai_client.transport.pool import Pool
from ai_client.transport.retry_after import parse_retry_after
from ai_client.transport.timer import NEVER, Timeouts

_MAX_ERROR_BODY = 1024 * 1024
_MAX_WHOLE_BODY = 256 * 1024 * 1024
_HIDDEN = HOP_BY_HOP | {b"set-cookie", b"server", b"strict-transport-security", b"alt-svc"}
"""Of the provider's headers, those that say something of its own connection or host, not of the answer."""
_SPECIAL = _HIDDEN | {b"x-request-id", b"content-encoding"}
"""Those that do not simply pass."""


class Patience(msgspec.Struct, frozen=True):
    """How long one attempt may take, in seconds.

    `answer` until a whole answer, or the first byte of a streamed one, is there; `first_token` until the first content
    of a streamed one; `idle` between two pieces of a stream; `buffer` is kept back from the caller's deadline, so that
    an error can still reach it.
    """

    answer: float = 30.0
    idle: float = 60.0
    buffer: float = 5.0
    first_token: float = NEVER


class OpenAIProvider:
    """Sends attempts over a pool of connections; see `providers.base.Provider`."""

    def __init__(  # noqa: PLR0913  built in two places, and the last three have a default
        self,
        name: str,
        pool: Pool,
        wire: Wire,
        patience: Patience,
        clock: Clock,
        api_key: str,
        commit: Commit = AS_IT_COMES,
        hidden: frozenset[bytes] = frozenset(),
        *,
        count: Count = by_length,
    ) -> None:
        """`hidden` names headers, in lower case, that are not this provider's to say: the caller sees none of them.
        `count` estimates what the provider did not count.
        """
        self._name = name
        self._pool = pool
        self._wire = wire
        self._patience = patience
        self._clock = clock
        self._api_key = api_key
        self._commit = commit
        self._count = count
        self._hidden = _HIDDEN | hidden
        self._special = _SPECIAL | hidden

    @property
    def name(self) -> str:
        """As the configuration calls it."""
        return self._name

    @property
    def open_connections(self) -> int:
        """Connections now open to this provider."""
        return self._pool.open_connections

    @property
    def busy(self) -> bool:
        """See `providers.base.Provider.busy`."""
        return self._pool.busy

    def close(self) -> None:
        """Close every connection now."""
        self._pool.close()

    def retire(self) -> None:
        """Let what is in flight finish; keep nothing after."""
        self._pool.retire()

    async def send(self, attempt: Attempt) -> Reply:
        """One try. See `providers.base.Provider.send`."""
        call = attempt.call
        clock = self._clock
        patience = self._patience
        left = (call.deadline_ns - clock.monotonic_ns()) / 1e9
        total = left - patience.buffer
        if total < left / 2:  # near its deadline a call gives half of what is left to the telling of a failure
            total = max(left / 2, 0.001)
        content = patience.first_token if call.fields.stream and call.endpoint is not Endpoint.OTHER else NEVER
        timeouts = Timeouts(patience.answer, patience.idle, total, content)
        try:
            incoming = await self._pool.request(self._wire.request(attempt), timeouts)
        except OverloadedError:
            call.record.attempts -= 1  # all connections stayed in use: `send` counted it, and it never left
            raise
        status = incoming.status
        if status >= 300:
            raise await self._refused(incoming)
        record = call.record
        if call.endpoint is OTHER:
            record.first_byte_ns = clock.monotonic_ns() - record.started_ns
            return await self._pass_through(incoming)
        if incoming.streamed:
            return await self._streamed(attempt, incoming)
        headers, packing = _visible(incoming.headers, self._special)
        body = self._unpacked(packing, incoming.body) if packing else incoming.body
        try:
            model, usage = read_answer(body, self._name, call.endpoint)
        except BrokenReplyError as error:
            raise BrokenReplyError(blot(error.message, self._api_key)) from None
        record.model = attempt.target.model or model
        if call.fields.stream:
            raise BrokenReplyError(f"{self._name} answered a request for a stream with a whole answer")
        record.first_byte_ns = clock.monotonic_ns() - record.started_ns
        if usage is None:
            usage = self._count(attempt.target.model, call.fields, written(body, call.endpoint))
        return Reply(status, headers, body, None, usage)

    async def _streamed(self, attempt: Attempt, incoming: Incoming) -> Reply:
        call = attempt.call
        kind = find_header(incoming.headers, b"content-type") or b""
        if not kind.lower().startswith(b"text/event-stream"):
            incoming.close()
            said = self._quoted(kind) or "no content type"
            raise BrokenReplyError(f"{self._name} answered {incoming.status} with {said} where JSON was due")
        if not call.fields.stream:
            incoming.close()
            raise BrokenReplyError(f"{self._name} answered with a stream where a whole answer was due")
        headers, packing = _visible(incoming.headers, self._special)
        if packing:
            incoming.close()
            raise BrokenReplyError(f"{self._name} compressed a stream although it was asked not to")
        judge: Judge
        if call.endpoint is Endpoint.RESPONSES:
            judge = ResponseJudge()
        else:
            hide = self._wire.adds_usage(call)
            judge = ChunkJudge(hide_usage=hide, tell_usage=call.fields.include_usage, keep=call.keep)
        count = partial(self._count, attempt.target.model, call.fields)
        stream = EventStream(incoming, judge, self._name, count, self._api_key)
        await stream.open()
        record = call.record
        record.model = attempt.target.model or stream.model
        record.first_byte_ns = self._clock.monotonic_ns() - record.started_ns
        most = self._commit.most(call, attempt.target)
        try:
            record.commit = "whole" if most and await stream.hold(most) else ""
        except asyncio.CancelledError:
            record.came = stream.chars
            raise
        return Reply(incoming.status, headers, b"", stream)

    async def _pass_through(self, incoming: Incoming) -> Reply:
        # bytes that nobody here reads keep the packing they came in
        headers = [pair for pair in incoming.headers if pair[0] not in self._hidden]
        if incoming.streamed:
            return Reply(incoming.status, headers, b"", RawStream(incoming))
        usage = None
        if incoming.body and find_header(headers, b"content-encoding") is None:
            try:
                _, usage = read_answer(incoming.body, self._name)
            except BrokenReplyError:  # a list, a number: JSON all the same, and not ours to judge
                usage = None
        return Reply(incoming.status, headers, incoming.body, None, usage or NO_USAGE)

    async def _refused(self, incoming: Incoming) -> Exception:
        body = incoming.body
        if incoming.streamed:
            body = await incoming.read_all(_MAX_ERROR_BODY)
        packing = find_header(incoming.headers, b"content-encoding")
        if packing:
            body = self._unpacked(packing, body)
        retry_after = parse_retry_after(incoming.headers, self._clock.unix_ns())
        return refusal(self._name, incoming.status, body, retry_after, self._api_key)

    def _unpacked(self, packing: bytes, body: bytes) -> bytes:
        packing = packing.lower()
        if packing == b"identity":
            return body
        if packing not in (b"gzip", b"deflate"):
            raise BrokenReplyError(f"{self._name} packed its answer as {self._quoted(packing)}, which nobody asked for")
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        try:
            plain = unpacker.decompress(body, _MAX_WHOLE_BODY)
        except zlib.error as error:
            said = packing.decode("latin-1")
            raise BrokenReplyError(f"{self._name} sent a {said} body that is broken: {error}") from None
        if not unpacker.eof:
            raise BrokenReplyError(f"{self._name} sent a {packing.decode('latin-1')} body that is cut off")
        return plain

    def _quoted(self, value: bytes) -> str:
        """A header's value, to be told in an error."""
        return blot(value.decode("latin-1"), self._api_key)[:100]


def _visible(headers: Headers, special: frozenset[bytes]) -> tuple[Headers, bytes]:
    """The headers that the caller may see, and how the body is packed (b"" when it is not).

    Of most headers, one look tells that they do not belong to the `special` ones, and simply pass.
    """
    visible = []
    packing = b""
    for pair in headers:
        name = pair[0]
        if name not in special:
            visible.append(pair)
        elif name == b"x-request-id":  # the caller gets one of ours under that name
            visible.append((b"x-upstream-request-id", pair[1]))
        elif name == b"content-encoding":
            packing = pair[1]
    return visible, packing
