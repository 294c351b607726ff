"""The few fields of a request body that the pipeline needs; everything else in it travels untouched."""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec


class Endpoint(enum.StrEnum):
    """What a call asks for: its path below the provider's base URL.

    A `str`, so that looking one up costs no call into Python, as the hash of a plain enum would.
    """

    CHAT = "/chat/completions"
    COMPLETIONS = "/completions"
    EMBEDDINGS = "/embeddings"
    RESPONSES = "/responses"
    OTHER = ""  # passed through: the call carries its own path


OTHER: Final = Endpoint.OTHER
"""For the way of every call: up to Python 3.11 a member looked up in its enum costs 0.1 µs, a module's name 0.01."""


class Part(msgspec.Struct, gc=False):
    """One piece of a message whose content is a list; only text counts here."""

    text: str = ""


class Message(msgspec.Struct, gc=False):
    """One message of a conversation."""

    role: str
    content: str | list[Part] | None = None


class StreamOptions(msgspec.Struct, gc=False):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


class ChatFields(msgspec.Struct, gc=False):
    """`/chat/completions`. A body without a model names none, as an empty name does; likewise where text is written."""

    messages: list[Message]
    model: str = ""
    stream: bool | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    n: int | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


class CompletionFields(msgspec.Struct, gc=False):
    """`/completions`. The prompt is a string, strings, token ids, or lists of token ids."""

    prompt: str | list[Any]
    model: str = ""
    stream: bool | None = None
    max_tokens: int | None = None
    n: int | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None


class EmbeddingFields(msgspec.Struct, gc=False):
    """`/embeddings`. The input is a string, strings, token ids, or lists of token ids.

    The model must be named: the default one answers, and a vector is worth something beside others of its model only.
    """

    model: str
    input: str | list[Any]
    user: str | None = None


class ResponseFields(msgspec.Struct, gc=False):
    """`/responses`. The input is a string or a list of items."""

    model: str = ""
    input: str | list[Any] = ""
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: int | None = None
    user: str | None = None


class OtherFields(msgspec.Struct, gc=False):
    """Any other JSON body: whatever it says of its model and stream."""

    model: str | None = ""
    stream: bool | None = None


class Fields(msgspec.Struct, frozen=True, gc=False):
    """What every endpoint's body comes down to.

    `input_chars` counts the characters of the prompt (the tokens of a prompt given as token ids count 4 each),
    `text` is the last thing the user said, `max_output` the caller's own bound on output tokens, 0 when unbounded,
    `user` whatever the caller says of whom it asks for.
    """

    model: str
    stream: bool = False
    input_chars: int = 0
    max_output: int = 0
    text: str = ""
    include_usage: bool = False
    choices: int = 1
    user: str = ""
