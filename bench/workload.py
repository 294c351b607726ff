"""What is sent and what comes back: one chat request of 230 bytes, one completion of 450, and the same as a stream."""

from __future__ import annotations

import json
from collections.abc import Mapping

MODEL = "deepseek-v3.2"
KEY = "hs_bench00000000000000000000000000"
PATH = "/v1/chat/completions"
REQUEST_BYTES = 230
REPLY_BYTES = 450


def _padded(wanted: int, template: Mapping[str, object], text: list[str]) -> bytes:
    """`template` as JSON with `text` as its only variable part, filled up to exactly `wanted` bytes."""

    def encode(filling: str) -> str:
        return json.dumps(template, separators=(",", ":")).replace("@", filling)

    missing = wanted - len(encode(""))
    words = (" ".join(text) * (missing // 8 + 1))[:missing]
    return encode(words).encode()


def request_body() -> bytes:
    """The request of the load generators: model, one system and one user message, a temperature."""
    messages = [{"role": "system", "content": "You are a terse assistant."}, {"role": "user", "content": "@"}]
    template = {"model": MODEL, "messages": messages, "temperature": 0.2, "max_tokens": 64}
    return _padded(REQUEST_BYTES, template, ["Natalia sold clips to 48 friends in April, half as many in May."])


def stream_request_body(tokens: int) -> bytes:
    """A request for a stream of `tokens` content chunks, with the usage chunk asked for."""
    return json.dumps(
        {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Count the clips, slowly."}],
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": tokens,
        },
        separators=(",", ":"),
    ).encode()


def reply_body() -> bytes:
    """A chat completion with usage, as a provider sends it. No single quote, no `$`: nginx quotes it."""
    template = {
        "id": "chatcmpl-bench0000000000000000000",
        "object": "chat.completion",
        "created": 1700000000,
        "model": MODEL,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "@"}, "logprobs": None, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 42, "completion_tokens": 24, "total_tokens": 66},
    }
    return _padded(REPLY_BYTES, template, ["She sold 48 in April and 24 in May, so 72 clips in all. "])


def models_body() -> bytes:
    """The list of models, with the bench's one in it."""
    model = {"id": MODEL, "object": "model", "created": 1700000000, "owned_by": "bench"}
    return json.dumps({"object": "list", "data": [model]}).encode()


def raw_request(port: int, body: bytes) -> bytes:
    """The whole HTTP/1.1 request, head and body, as the generators write it to a connection."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _event(choices: list[dict[str, object]], **more: object) -> bytes:
    chunk = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": MODEL,
        "choices": choices,
        **more,
    }
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def role_event() -> bytes:
    """The first event of a stream: who speaks."""
    return _event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])


def token_event() -> bytes:
    """One event of a stream that carries one token."""
    return _event([{"index": 0, "delta": {"content": " clip"}, "finish_reason": None}])


def last_events(tokens: int) -> bytes:
    """What ends a stream: the reason, the usage, the mark."""
    finish = _event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = {"prompt_tokens": 12, "completion_tokens": tokens, "total_tokens": 12 + tokens}
    return finish + _event([], usage=usage) + b"data: [DONE]\n\n"


EVENTS_BESIDE_TOKENS = 4
"""role, finish, usage, [DONE]."""
