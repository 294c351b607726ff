"""What stands inside the stage under test."""

from __future__ import annotations

from ai_client.model.call import Attempt, Call
from ai_client.model.reply import Reply, Stream, StreamEnd
from ai_client.testing import ScriptedProvider
from ai_client.testing.provider import Line
from tests.calls import TARGET


class Inside(ScriptedProvider):
    """A script in a stage's place: takes attempts, which it counts as `Send` does, or, by `answer`, calls."""

    def __init__(self, *script: Line) -> None:
        super().__init__(script)

    async def __call__(self, attempt: Attempt) -> Reply:
        attempt.call.record.attempts += 1
        return await self.send(attempt)

    async def answer(self, call: Call) -> Reply:
        return await self.send(Attempt(call, TARGET))


async def read(reply: Reply) -> bytes:
    """All of a streamed answer."""
    return b"".join([piece async for piece in stream_of(reply)])


def stream_of(reply: Reply) -> Stream:
    assert reply.stream is not None
    return reply.stream


def ends_of(reply: Reply) -> list[StreamEnd]:
    """Where the ends of a streamed answer will be noted."""
    ends: list[StreamEnd] = []
    stream_of(reply).on_end(ends.append)
    return ends
