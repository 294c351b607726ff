"""The wire formats of `/chat/completions` and `/completions`, whole and streamed."""

from __future__ import annotations

from typing import Final

import msgspec

from ai_client.simulator.generation import Generation
from ai_client.simulator.prose import Prose

_USAGE: Final = (
    b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,'
    b'"prompt_tokens_details":{"cached_tokens":%d,"audio_tokens":0},'
    b'"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
    b'"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
)
_DONE: Final = b"data: [DONE]\n\n"


class Frames(msgspec.Struct, frozen=True):
    """A streamed body: its events, with which token (from 0) each comes, and which one tells why the model stopped."""

    events: list[bytes]
    tokens: list[int]
    finish_at: int


class Format(msgspec.Struct, frozen=True):
    """How one of the two endpoints writes the same reply.

    `whole` takes an index, a text and a reason; `opening` an index, and is empty where streams have no first event
    of their own; `begin` and `end` stand around each piece of text; `close` takes an index and a reason.
    """

    prefix: bytes
    whole_object: bytes
    chunk_object: bytes
    whole: bytes
    opening: bytes
    begin: bytes
    end: bytes
    close: bytes


CHAT: Final = Format(
    prefix=b"chatcmpl-",
    whole_object=b"chat.completion",
    chunk_object=b"chat.completion.chunk",
    whole=(
        b'{"index":%d,"message":{"role":"assistant","content":"%b","refusal":null,"annotations":[]},'
        b'"logprobs":null,"finish_reason":"%b"}'
    ),
    opening=b'{"index":%d,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}',
    begin=b'{"index":%d,"delta":{"content":"',
    end=b'"},"logprobs":null,"finish_reason":null}',
    close=b'{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%b"}',
)

COMPLETION: Final = Format(
    prefix=b"cmpl-",
    whole_object=b"text_completion",
    chunk_object=b"text_completion",
    whole=b'{"index":%d,"text":"%b","logprobs":null,"finish_reason":"%b"}',
    opening=b"",
    begin=b'{"index":%d,"text":"',
    end=b'","logprobs":null,"finish_reason":null}',
    close=b'{"index":%d,"text":"","logprobs":null,"finish_reason":"%b"}',
)


def whole(made: Generation, prose: Prose, form: Format) -> bytes:
    """The body of an answer that is not streamed."""
    choices = [
        form.whole % (index, choice.text(prose), b"length" if choice.cut else b"stop")
        for index, choice in enumerate(made.choices)
    ]
    return b'{"id":"%b%b","object":"%b","created":%d,"model":"%b","choices":[%b],"usage":%b,%b}' % (
        form.prefix,
        made.ident,
        form.whole_object,
        made.created,
        made.name,
        b",".join(choices),
        _usage(made),
        b'"service_tier":"default","system_fingerprint":"fp_simulator"',
    )


def streamed(made: Generation, prose: Prose, form: Format, *, include_usage: bool) -> Frames:
    """The events of a streamed answer. With `include_usage` each carries a `usage`, and one more before the end."""
    head = (
        b'data: {"id":"%b%b","object":"%b","created":%d,"model":"%b",'
        b'"service_tier":"default","system_fingerprint":"fp_simulator","choices":['
        % (form.prefix, made.ident, form.chunk_object, made.created, made.name)
    )
    tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
    events: list[bytes] = []
    tokens: list[int] = []
    at = 0
    for index, choice in enumerate(made.choices):
        if form.opening:
            events.append(head + form.opening % index + tail)
            tokens.append(at)
        begin, end = head + form.begin % index, form.end + tail
        events += [begin + piece + end for piece in choice.pieces(prose)]
        tokens += range(at, at + choice.tokens)
        at += choice.tokens
        events.append(head + form.close % (index, b"length" if choice.cut else b"stop") + tail)
        tokens.append(at - 1)
    finish_at = len(events) - 1
    if include_usage:
        events.append(head + b'],"usage":' + _usage(made) + b"}\n\n")
        tokens.append(at - 1)
    events.append(_DONE)
    tokens.append(at - 1)
    return Frames(events, tokens, finish_at)


def _usage(made: Generation) -> bytes:
    total = made.prompt_tokens + made.completion_tokens
    return _USAGE % (made.prompt_tokens, made.completion_tokens, total, made.cached_tokens)
