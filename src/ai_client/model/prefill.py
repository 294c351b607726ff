"""A text that broke off, as the beginning of an assistant's message that a model goes on from.

How a model is asked to differs, and none does it unasked without harm: one that takes the last message for an earlier
turn answers anew.

    plain   by the message alone: Anthropic's models, and most that are reached through their relays
    prefix  by `"prefix": true` in the message: DeepSeek's, at the base URL of its beta (Chat Prefix Completion)
    echo    the same, and the answer repeats the beginning: Mistral's (API reference, AssistantMessage)
    vllm    by `continue_final_message` and `add_generation_prompt` in the request: vLLM, SGLang
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ai_client.model.usage import CHARS_PER_TOKEN

PLAIN: Final = "plain"
PREFIX: Final = "prefix"
ECHO: Final = "echo"
VLLM: Final = "vllm"
STYLES: Final = (PLAIN, PREFIX, ECHO, VLLM)

_BOUNDS: Final = ("max_tokens", "max_completion_tokens")

Members = dict[str, msgspec.Raw]

_messages = msgspec.json.Decoder(list[msgspec.Raw])


class _Asked(msgspec.Struct):
    """What of a chat makes its answer more than text."""

    messages: list[dict[str, Any]] = []
    tools: Any = None
    functions: Any = None
    logprobs: Any = None
    audio: Any = None
    response_format: Any = None
    modalities: list[str] | None = None


_asked = msgspec.json.Decoder(_Asked)


def can_be_taken_up(body: bytes) -> bool:
    """Is the answer to this chat plain text, which another model can go on with? Not with tools, log probabilities, a
    format of its own, or sound; nor where the caller began the assistant's message itself.
    """
    try:
        asked = _asked.decode(body)
    except msgspec.DecodeError:
        return False
    if asked.tools or asked.functions or asked.logprobs or asked.audio or asked.modalities not in (None, ["text"]):
        return False
    form = asked.response_format
    if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
        return False
    return bool(asked.messages) and asked.messages[-1].get("role") != "assistant"


def unspaced(text: str) -> tuple[str, str]:
    """The text without the white space at its end, and that: Anthropic refuses a beginning that ends in some."""
    beginning = text.rstrip()
    return beginning, text[len(beginning) :]


def write_prefill(members: Members, beginning: str, style: str) -> None:
    """Put the beginning into a chat's body. What the caller bounds the output by is less what came already."""
    if not beginning:  # nothing but white space has come: the model may as well begin
        return
    message: dict[str, Any] = {"role": "assistant", "content": beginning}
    if style in (PREFIX, ECHO):
        message["prefix"] = True
    elif style == VLLM:
        members["continue_final_message"] = msgspec.Raw(b"true")
        members["add_generation_prompt"] = msgspec.Raw(b"false")
    messages = [*_messages.decode(members["messages"]), msgspec.Raw(msgspec.json.encode(message))]
    members["messages"] = msgspec.Raw(msgspec.json.encode(messages))
    for name in _BOUNDS:
        bound = msgspec.json.decode(members.get(name, b"null"))
        if isinstance(bound, int):
            left = max(bound - len(beginning) // CHARS_PER_TOKEN, 1)
            members[name] = msgspec.Raw(b"%d" % left)
