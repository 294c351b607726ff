"""Answers that arrive as a test wants them, and the events of streams."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import msgspec

from ai_client.model.request import Fields
from ai_client.model.usage import by_length
from ai_client.transport.incoming import Incoming

COUNT: Final = partial(by_length, "m-1", Fields("m-1", input_chars=41))
"""What an answer of so many characters is estimated at, with a prompt of 41."""


class Fed(Incoming):
    """A streamed answer of the given pieces; then b"", or an error. Notes how it was let go."""

    def __init__(self, pieces: Iterable[bytes], error: BaseException | None = None) -> None:
        super().__init__(200, [], b"")
        self.pieces = list(pieces)
        self.failure = error
        self.let_go = ""

    async def read(self) -> bytes:
        if self.pieces:
            return self.pieces.pop(0)
        if self.failure is not None:
            raise self.failure
        return b""

    def discard(self) -> None:
        self.let_go += "discarded "

    def close(self) -> None:
        self.let_go += "closed "


def event(fields: dict[str, Any] | bytes) -> bytes:
    """One event on the wire."""
    return b"data: " + (fields if isinstance(fields, bytes) else msgspec.json.encode(fields)) + b"\n\n"


def chunk(text: str | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk of a streamed chat."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    return event({"id": "1", "model": "m-1", "choices": [choice], **more})


ROLE = event({"id": "1", "model": "m-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
STOP = chunk(finish="stop")
USAGE = event({"model": "m-1", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}})
DONE = event(b"[DONE]")
