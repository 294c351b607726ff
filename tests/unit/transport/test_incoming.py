"""Answers without a connection; with one, see test_connection.py."""

from __future__ import annotations

from ai_client.transport.connection import Incoming
from tests.running import Run


def test_a_whole_answer_is_complete_in_itself(run: Run) -> None:
    incoming = Incoming(200, [(b"a", b"1")], None, b"body")

    async def scene() -> None:
        assert not incoming.streamed
        assert await incoming.read() == b""
        assert await incoming.read_all(0) == b"body"
        incoming.discard()
        incoming.close()
        assert await incoming.read_all(0) == b"body"

    run(scene())
