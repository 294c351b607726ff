"""A request body, read once for the few fields the pipeline needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ai_client.errors import InvalidRequestError
from ai_client.model.request import (
    ChatFields,
    CompletionFields,
    EmbeddingFields,
    Endpoint,
    Fields,
    OtherFields,
    ResponseFields,
)

_CHARS_PER_TOKEN_ID = 4

_chat = msgspec.json.Decoder(ChatFields)
_completion = msgspec.json.Decoder(CompletionFields)
_embedding = msgspec.json.Decoder(EmbeddingFields)
_response = msgspec.json.Decoder(ResponseFields)
_other = msgspec.json.Decoder(OtherFields)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse(endpoint: Endpoint, body: bytes) -> Fields:
    """Read what the pipeline needs of `body`.

    Raises `InvalidRequestError`, with the field at fault in `param`, when the body is not JSON in UTF-8, when a field
    that we read has a wrong type, or when there is nothing to answer.
    """
    if not body:
        raise InvalidRequestError("the request has no body: send a JSON object")
    try:
        return _PARSERS[endpoint](body)
    except RecursionError:
        raise InvalidRequestError("the request body is nested too deeply: no answer needs so many levels") from None
    except msgspec.ValidationError as error:
        reason, param = _split(str(error))
        raise InvalidRequestError(f"the request body is wrong: {reason}", param=param) from None
    except msgspec.DecodeError as error:
        raise InvalidRequestError(f"the request body is not valid JSON: {error}") from None
    except UnicodeDecodeError as error:
        raise InvalidRequestError(f"the request body is not valid UTF-8: see byte {error.start}") from None


def reads_one_way(body: bytes) -> bool:
    """Has this object each of its members once, and one `model` in whatever letters?

    Of a member that stands twice some readers take the first and some the last, as we do; Go's know `Model` too.
    """
    members = _members.decode(body)
    once = msgspec.json.encode(members).count(b'"') == body.count(b'"')  # what stood twice is gone, with its quotes
    return once and sum(name.lower() == "model" for name in members) <= 1


def _parse_chat(body: bytes) -> Fields:
    chat = _chat.decode(_text(body))
    if not chat.messages:
        raise InvalidRequestError("messages is empty: send at least one message", param="messages")
    chars = 0
    text = ""
    for message in chat.messages:
        content = message.content
        if content is None:
            continue
        said = content if type(content) is str else "\n".join(part.text for part in content)  # type: ignore[union-attr]
        chars += len(said)
        if message.role == "user":
            text = said
    bound = chat.max_completion_tokens or chat.max_tokens or 0
    choices = chat.n or 1
    if bound < 0 or choices < 0 or (chat.max_tokens or 0) < 0:
        _positive(chat.max_completion_tokens, "max_completion_tokens")
        _positive(chat.max_tokens, "max_tokens")
        _positive(chat.n, "n")
    return Fields(
        chat.model,
        chat.stream or False,
        chars,
        bound,
        text,
        chat.stream_options is not None and chat.stream_options.include_usage,
        choices,
        chat.user or "",
    )


def _parse_completion(body: bytes) -> Fields:
    fields = _completion.decode(_text(body))
    if not fields.prompt:
        raise InvalidRequestError("prompt is empty: send at least one", param="prompt")
    chars, text = _measure(fields.prompt)
    return Fields(
        fields.model,
        fields.stream or False,
        chars,
        _positive(fields.max_tokens, "max_tokens"),
        text,
        fields.stream_options is not None and fields.stream_options.include_usage,
        _positive(fields.n, "n") or 1,
        fields.user or "",
    )


def _parse_embedding(body: bytes) -> Fields:
    fields = _embedding.decode(_text(body))
    if not fields.input:
        raise InvalidRequestError("input is empty: send at least one text", param="input")
    chars, text = _measure(fields.input)
    return Fields(fields.model, False, chars, 0, text, user=fields.user or "")


def _parse_response(body: bytes) -> Fields:
    fields = _response.decode(_text(body))
    chars, text = _measure(fields.input)
    chars += len(fields.instructions or "")
    return Fields(
        fields.model,
        fields.stream or False,
        chars,
        _positive(fields.max_output_tokens, "max_output_tokens"),
        text,
        user=fields.user or "",
    )


def _parse_other(body: bytes) -> Fields:
    if body[:1] not in b"{ \t\r\n":  # a file, a form: the provider's business
        return Fields("")
    fields = _other.decode(_text(body))
    return Fields(fields.model or "", fields.stream or False, len(body), 0, "")


_PARSERS: Mapping[Endpoint, Callable[[bytes], Fields]] = {
    Endpoint.CHAT: _parse_chat,
    Endpoint.COMPLETIONS: _parse_completion,
    Endpoint.EMBEDDINGS: _parse_embedding,
    Endpoint.RESPONSES: _parse_response,
    Endpoint.OTHER: _parse_other,
}


def _text(body: bytes) -> bytes:
    """The body, once it is known to be text: of what nobody reads, the decoders look at no character."""
    if not body.isascii():
        body.decode()
    return body


def _measure(value: Any) -> tuple[int, str]:
    """Characters of a prompt in any of its shapes, and the last text in it."""
    if isinstance(value, str):
        return len(value), value
    if isinstance(value, int):
        return _CHARS_PER_TOKEN_ID, ""
    chars, text = 0, ""
    if isinstance(value, list):
        for item in value:
            more, said = _measure(item)
            chars += more
            text = said or text
    elif isinstance(value, dict):
        chars, text = _measure(value.get("content", value.get("text", "")))
        if value.get("role", "user") != "user":
            text = ""
    return chars, text


def _positive(value: int | None, name: str) -> int:
    if value is None:
        return 0
    if value < 0:
        raise InvalidRequestError(f"{name} is {value}: it must not be negative", param=name)
    return value


def _split(said: str) -> tuple[str, str | None]:
    """msgspec writes ``Expected `str`, got `int` - at `$.model` ``: the reason, and `model`."""
    reason, found, path = said.partition(" - at `$.")
    if found:
        param = path.rstrip("`")
        return f"{param}: {_lower_first(reason)}", param
    if "missing required field `" in said:
        name = said.split("missing required field `", 1)[1].split("`", 1)[0]
        return f"{name} is missing", name
    return said, None


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
