"""What may be asked twice, and what does more than ask."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.model.effects import only_asks
from ai_client.model.request import Endpoint

FUNCTION = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize(
    ("endpoint", "body", "asks"),
    [
        (Endpoint.CHAT, {}, True),
        (Endpoint.CHAT, {"store": False, "tools": [FUNCTION, {"type": "custom"}]}, True),
        (Endpoint.CHAT, {"tools": None, "store": None}, True),
        (Endpoint.CHAT, {"store": True}, False),
        (Endpoint.CHAT, {"background": True}, False),
        (Endpoint.CHAT, {"tools": [FUNCTION, {"type": "mcp"}]}, False),
        (Endpoint.CHAT, {"store": "yes"}, False),
        (Endpoint.COMPLETIONS, {"prompt": "a"}, True),
        (Endpoint.EMBEDDINGS, {"input": "a"}, True),
        (Endpoint.RESPONSES, {"store": False, "conversation": None, "tools": [{"type": "function"}]}, True),
        (Endpoint.RESPONSES, {}, False),
        (Endpoint.RESPONSES, {"store": None}, False),
        (Endpoint.RESPONSES, {"store": False, "background": True}, False),
        (Endpoint.RESPONSES, {"store": False, "conversation": "conv_1"}, False),
        (Endpoint.RESPONSES, {"store": False, "previous_response_id": "resp_1"}, False),
        (Endpoint.RESPONSES, {"store": False, "tools": [{"type": "code_interpreter"}]}, False),
        (Endpoint.OTHER, {}, False),
    ],
)
def test_what_only_asks(endpoint: Endpoint, body: dict[str, Any], asks: bool) -> None:
    assert only_asks(endpoint, [], msgspec.json.encode(body)) == asks


def test_who_says_once_means_it() -> None:
    assert not only_asks(Endpoint.CHAT, [(b"idempotency-key", b"1")], b"{}")
    assert only_asks(Endpoint.CHAT, [(b"openai-beta", b"1")], b"{}")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"store":"\xff"}'])
def test_what_cannot_be_read_is_not_asked_twice(body: bytes) -> None:
    assert not only_asks(Endpoint.CHAT, [], body)
