"""What a request asks the simulator for, beyond the fields that `model/parse.py` reads."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ai_client.errors import InvalidRequestError

CHARS_PER_TOKEN: Final = 4
DIMENSIONS: Final = 1_536  # of a vector, unless fewer are asked for
_PRIMING_TOKENS: Final = 3  # what frames a prompt costs a few tokens more
_SEPARATOR: Final = "\x1e"  # keeps "ab" + "c" apart from "a" + "bc" in the prefix cache
_NOT_TEXT: Final = frozenset({"role", "type", "id", "name", "status"})


Texts = str | list[str | int | list[int]]
"""A text, texts, token ids, or lists of token ids: what `prompt` and `input` may be."""


class EmbeddingOptions(msgspec.Struct):
    """The fields of `/embeddings` that shape the vectors."""

    input: Texts
    dimensions: int | None = None
    encoding_format: str = "float"


class _Prompts(msgspec.Struct):
    prompt: Texts


class _Texts(msgspec.Struct):
    instructions: str | None = None
    messages: Any = None
    prompt: Any = None
    input: Any = None


class _Messages(msgspec.Struct):
    messages: list[dict[str, Any]]


_messages = msgspec.json.Decoder(_Messages)
_embedding_options = msgspec.json.Decoder(EmbeddingOptions)
_prompts = msgspec.json.Decoder(_Prompts)
_texts = msgspec.json.Decoder(_Texts)


def tokens_of(chars: int) -> int:
    """How many tokens a prompt of so many characters has: one for each four, and three around it."""
    return -(-chars // CHARS_PER_TOKEN) + _PRIMING_TOKENS


def prompt_text(body: bytes) -> str:
    """All text of a prompt, in order: what a prefix cache compares."""
    texts = _texts.decode(body)
    found: list[str] = [texts.instructions or ""]
    for part in (texts.messages, texts.prompt, texts.input):
        _collect(part, found)
    return _SEPARATOR.join(found)


def prompts_of(body: bytes) -> list[str]:
    """The prompts of a `/completions` request, each answered for itself.

    Raises `InvalidRequestError` when one of them is neither text nor token ids.
    """
    try:
        return as_texts(_prompts.decode(body).prompt)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"prompt: {error}", param="prompt") from None


def prefill_of(body: bytes) -> str | None:
    """The beginning of an answer that a chat gives itself, as an assistant's last message; None where it gives none."""
    last = _messages.decode(body).messages[-1]
    if last.get("role") != "assistant":
        return None
    found: list[str] = []
    _collect(last.get("content"), found)
    return "".join(found)


def embedding_options(body: bytes) -> EmbeddingOptions:
    """The options of a request for embeddings. Raises `InvalidRequestError` when they make no sense."""
    try:
        options = _embedding_options.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the request body is wrong: {error}", param="input") from None
    if options.encoding_format not in {"float", "base64"}:
        raise InvalidRequestError(
            f"encoding_format is {options.encoding_format!r}: it must be 'float' or 'base64'", param="encoding_format"
        )
    if options.dimensions is not None and not 1 <= options.dimensions <= DIMENSIONS:
        raise InvalidRequestError(
            f"dimensions is {options.dimensions}: it must be from 1 to {DIMENSIONS}", param="dimensions"
        )
    if "" in as_texts(options.input):
        raise InvalidRequestError("input holds an empty text: leave it out", param="input")
    return options


def as_texts(value: Texts) -> list[str]:
    """The texts of a prompt or input; token ids are written out as numbers."""
    if isinstance(value, str):
        return [value]
    if value and isinstance(value[0], int):
        return [" ".join(map(str, value))]
    return [" ".join(map(str, item)) if isinstance(item, list) else str(item) for item in value]


def _collect(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, list):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in _NOT_TEXT:
                _collect(item, found)
    elif value is not None:
        found.append(str(value))
