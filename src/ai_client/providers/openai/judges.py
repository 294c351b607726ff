"""What the events of a stream mean: content, usage, finish, end, error. One judge for each shape of stream.

A judge reads one event's data and remembers. It never raises for what the provider says, only for what is not JSON.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from ai_client.errors import BrokenReplyError
from ai_client.model.usage import Usage
from ai_client.providers.openai.answers import Chunk, ErrorFields, ResponseEvent

_NO_CALLS = frozenset({b"", b"null", b"[]"})

_chunk = msgspec.json.Decoder(Chunk)
_event = msgspec.json.Decoder(ResponseEvent)


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

    def read(self, data: bytes) -> bool:
        """Take one event in. Raises `BrokenReplyError` when it is not what this stream is made of."""


class ChunkJudge:
    """Chat and completions: chunks, then `[DONE]`."""

    __slots__ = ("_hide_usage", "chars", "content", "done", "error", "finished", "model", "usage")

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
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
        try:
            chunk = _chunk.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenReplyError(f"the stream carried a chunk that is not the JSON it should be: {error}") from None
        if chunk.error is not None:
            self.error = chunk.error
            return True
        for choice in chunk.choices:
            delta = choice.delta
            text = choice.text if delta is None else delta.content or delta.reasoning_content or delta.refusal
            if text:
                self.chars += len(text)
                self.content = True
            elif delta is not None and (calls := bytes(delta.tool_calls)) not in _NO_CALLS:
                self.chars += len(calls)
                self.content = True
            if choice.finish_reason:  # some servers send an empty one with every chunk
                self.finished = self.content = True
        if chunk.model and not self.model:
            self.model = chunk.model
        if chunk.usage is not None:
            self.usage = chunk.usage.usage()
            return not (self._hide_usage and not chunk.choices)
        return True


class ResponseJudge:
    """The Responses API: typed events, the last of which carries the whole response."""

    __slots__ = ("chars", "content", "done", "error", "finished", "model", "usage")

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
