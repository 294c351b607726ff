"""What the events of a stream mean: content, usage, finish, end, error. One judge for each shape of stream.

A judge reads one event's data and remembers. It never raises for what the provider says, only for what is not JSON.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from ai_client.errors import BrokenReplyError
from ai_client.model.usage import Usage, as_members
from ai_client.providers.openai.answers import Chunk, Delta, ErrorFields, ResponseEvent

_NO_CALLS = frozenset({b"", b"null", b"[]"})

_chunk = msgspec.json.Decoder(Chunk)
_event = msgspec.json.Decoder(ResponseEvent)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])

_SHARED: Final = ("id", "object", "created", "model", "service_tier", "system_fingerprint")
"""What every chunk of one stream says alike."""


class Judge(Protocol):
    """`read` returns False when the event is not for the caller (a usage it did not ask for)."""

    model: str
    usage: Usage | None
    chars: int
    """Characters of content so far."""
    content: bool
    """There was content, or an end: the caller has something to see."""
    finished: bool
    """Some choice said why it ended."""
    done: bool
    """The provider said that this is all."""
    error: ErrorFields | str | None

    @property
    def said(self) -> str | None:
        """All the text so far; None where that is not kept, where there is more than text, or where it has its end."""

    def read(self, data: bytes) -> bool:
        """Take one event in. Raises `BrokenReplyError` when it is not what this stream is made of."""

    def told(self, usage: Usage) -> bytes:
        """This count of ours, as an event for a caller who asked for one; b"" where nobody did."""


def _read_chunk(data: bytes) -> Chunk:
    try:
        return _chunk.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenReplyError(f"the stream carried a chunk that is not the JSON it should be: {error}") from None


class ChunkJudge:
    """Chat and completions: chunks, then `[DONE]`.

    With `hide_usage` a chunk that has nothing but the usage is not for the caller; with `tell_usage` one is due to it.
    """

    __slots__ = (
        "_finish",
        "_hide_usage",
        "_kept",
        "_plain",
        "_tell_usage",
        "chars",
        "content",
        "done",
        "error",
        "finished",
        "model",
        "usage",
    )

    def __init__(self, *, hide_usage: bool, tell_usage: bool = False, keep: bool = False) -> None:
        self._hide_usage = hide_usage
        self._tell_usage = tell_usage
        self._finish = b"{}"  # the chunk with the last reason for finishing
        self._kept: list[str] | None = [] if keep else None
        self._plain = True
        self.model = ""
        self.usage: Usage | None = None
        self.chars = 0
        self.content = False
        self.finished = False
        self.done = False
        self.error: ErrorFields | str | None = None

    def read(self, data: bytes) -> bool:
        """Take one event in."""
        if data == b"[DONE]":
            self.done = True
            return True
        chunk = _read_chunk(data)
        if chunk.error is not None:
            self.error = chunk.error
            return True
        for choice in chunk.choices:
            delta = choice.delta
            text = choice.text if delta is None else delta.content or delta.reasoning_content or delta.refusal
            if text:
                self.chars += len(text)
                self.content = True
                if self._kept is not None:
                    self._keep(delta, text)
            elif delta is not None and (calls := bytes(delta.tool_calls)) not in _NO_CALLS:
                self.chars += len(calls)
                self.content = True
                self._plain = False
            if choice.finish_reason:  # some servers send an empty one with every chunk
                self.finished = self.content = True
                self._finish = data
        if chunk.model and not self.model:
            self.model = chunk.model
        if chunk.usage is not None:
            self.usage = chunk.usage.usage()
            return not (self._hide_usage and not chunk.choices)
        return True

    def told(self, usage: Usage) -> bytes:
        """A chunk as OpenAI's own last one, of the same stream as the one that finished it."""
        if not self._tell_usage:
            return b""
        finish = _object.decode(self._finish)
        chunk = {name: finish[name] for name in _SHARED if name in finish}
        return b"data: %b\n\n" % msgspec.json.encode({**chunk, "choices": [], "usage": as_members(usage)})

    @property
    def said(self) -> str | None:
        """All the text so far."""
        return None if self._kept is None or not self._plain or self.finished else "".join(self._kept)

    def _keep(self, delta: Delta | None, text: str) -> None:
        if self._kept is not None and delta is not None and text is delta.content:
            self._kept.append(text)
        else:
            self._plain = False


class ResponseJudge:
    """The Responses API: typed events, the last of which carries the whole response."""

    __slots__ = ("chars", "content", "done", "error", "finished", "model", "usage")
    said = None

    def __init__(self) -> None:
        self.model = ""
        self.usage: Usage | None = None
        self.chars = 0
        self.content = False
        self.finished = False
        self.done = False
        self.error: ErrorFields | str | None = None

    def read(self, data: bytes) -> bool:
        """Take one event in."""
        if data == b"[DONE]":  # not in the API's words, but some servers end every stream so
            self.done = True
            return True
        try:
            event = _event.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenReplyError(f"the stream carried an event that is not the JSON it should be: {error}") from None
        kind = event.type
        if kind.endswith(".delta"):
            self.content = True
            if isinstance(event.delta, str):
                self.chars += len(event.delta)
        elif kind in ("response.completed", "response.incomplete"):
            self.content = self.finished = self.done = True
            if event.response is not None:
                self.model = event.response.model or ""
                self.usage = event.response.usage.usage() if event.response.usage is not None else None
        elif kind == "response.failed":
            self.error = (event.response and event.response.error) or ErrorFields(message="the response failed")
        elif kind == "error":
            self.error = event.error or ErrorFields(message=event.message, code=event.code)
        return True

    def told(self, usage: Usage) -> bytes:
        """Nothing: its count is a part of the event that ends it, which stays the provider's."""
        del usage
        return b""
