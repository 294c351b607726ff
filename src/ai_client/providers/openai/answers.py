"""What OpenAI's dialect answers, as far as the pipeline reads it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ai_client.errors import BrokenReplyError
from ai_client.model.request import Endpoint
from ai_client.model.usage import Usage
from ai_client.providers.openai.whole import Choice, check_choices

_SAID: Final = frozenset({"content", "text", "reasoning_content", "refusal", "name", "arguments"})
"""The members of an answer whose text the model wrote."""


class PromptDetails(msgspec.Struct, gc=False):
    """`prompt_tokens_details`, or `input_tokens_details` of the Responses API."""

    cached_tokens: int | None = 0


class OutputDetails(msgspec.Struct, gc=False):
    """`completion_tokens_details`, or `output_tokens_details` of the Responses API."""

    reasoning_tokens: int | None = 0


class UsageFields(msgspec.Struct, gc=False):
    """`usage`: the first five of chat, completions and embeddings, the others of the Responses API. Of our own daemon,
    and of nobody else, `estimated`: the provider behind it did not count.
    """

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: PromptDetails | None = None
    output_tokens_details: OutputDetails | None = None
    estimated: Any = False

    def usage(self) -> Usage | None:
        """In our own terms; None where nothing is counted in it."""
        before, after = self.prompt_tokens, self.completion_tokens
        if before is None and after is None:
            before, after = self.input_tokens, self.output_tokens
            if before is None and after is None:
                return None
        cached = self.prompt_tokens_details or self.input_tokens_details
        reasoning = self.completion_tokens_details or self.output_tokens_details
        return Usage(
            before or 0,
            after or 0,
            (cached.cached_tokens or 0) if cached else 0,
            (reasoning.reasoning_tokens or 0) if reasoning else 0,
            self.estimated is True,
        )


class ErrorFields(msgspec.Struct, gc=False):
    """OpenAI's error object; some providers send a number as its code."""

    message: str | None = None
    type: str | None = None
    code: str | int | None = None
    param: str | None = None


class TextFields(msgspec.Struct, gc=False):
    """A whole answer of chat or completions; of its content only whether it came to its end."""

    model: str | None = ""
    usage: UsageFields | None = None
    error: ErrorFields | str | None = None
    choices: list[Choice] | None = None


class AnswerFields(msgspec.Struct, gc=False):
    """Any whole answer; of its content only whether it is there."""

    model: str | None = ""
    usage: UsageFields | None = None
    error: ErrorFields | str | None = None
    choices: msgspec.Raw = msgspec.Raw()
    data: msgspec.Raw = msgspec.Raw()
    output: msgspec.Raw = msgspec.Raw()


class Delta(msgspec.Struct, gc=False):
    """What a chunk adds to a message; `tool_calls` and the rest matter only by being there."""

    content: str | None = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    reasoning_content: str | None = None
    refusal: str | None = None


class ChunkChoice(msgspec.Struct, gc=False):
    """One choice of a chunk; `text` is of the older completions endpoint."""

    delta: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """One event of a streamed chat or completion."""

    model: str | None = ""
    choices: list[ChunkChoice] = []
    usage: UsageFields | None = None
    error: ErrorFields | str | None = None


class ResponseBody(msgspec.Struct, gc=False):
    """`response` of a Responses API event."""

    model: str | None = ""
    usage: UsageFields | None = None
    error: ErrorFields | None = None


class ResponseEvent(msgspec.Struct, gc=False):
    """One event of a streamed response."""

    type: str = ""
    delta: Any = None
    response: ResponseBody | None = None
    error: ErrorFields | None = None
    message: str | None = None
    code: str | int | None = None


class ErrorBody(msgspec.Struct, gc=False):
    """The body of an error status."""

    error: ErrorFields | str | None = None
    message: str | None = None


_answer = msgspec.json.Decoder(AnswerFields)
_text = msgspec.json.Decoder(TextFields)
_TEXT: Final = frozenset({Endpoint.CHAT, Endpoint.COMPLETIONS})
_CONTENT: Mapping[Endpoint, str] = {
    Endpoint.EMBEDDINGS: "data",
    Endpoint.RESPONSES: "output",
}
"""The list that makes an answer one, where that is not text."""


def read_answer(body: bytes, where: str, endpoint: Endpoint = Endpoint.OTHER) -> tuple[str, Usage | None]:
    """The model that answered and what it spent; None where the provider did not count: see `written`.

    Raises `BrokenReplyError` when the body is not a JSON object, or says that it is an error (some servers say so with
    status 200), or lacks what `endpoint` answers with, or a reason why that ended (`Endpoint.OTHER` demands nothing).
    """
    text = endpoint in _TEXT
    answer: AnswerFields | TextFields
    try:
        answer = _text.decode(body) if text else _answer.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = "an empty body" if not body.strip() else f"a body that is not the JSON it should be ({error})"
        raise BrokenReplyError(f"{where} answered with {what}") from None
    if answer.error is not None:
        said = answer.error.message if isinstance(answer.error, ErrorFields) else answer.error
        raise BrokenReplyError(f"{where} answered with an error where an answer was due: {said or 'no reason given'}")
    if isinstance(answer, TextFields):
        check_choices(answer.choices, where)
    elif (member := _CONTENT.get(endpoint)) and not bytes(getattr(answer, member)).startswith(b"["):
        raise BrokenReplyError(f"{where} answered without {member}: its answer is not whole")
    return answer.model or "", answer.usage.usage() if answer.usage is not None else None


def written(body: bytes, endpoint: Endpoint) -> int:
    """How many characters the model wrote in a whole answer: text, reasoning, the names and arguments of tools."""
    if endpoint is Endpoint.EMBEDDINGS:
        return 0
    answer = _answer.decode(body)
    content = bytes(answer.choices if endpoint in _TEXT else answer.output)
    try:
        rest = [msgspec.json.decode(content)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return len(content)  # nobody here had to understand it
    chars = 0
    while rest:
        value = rest.pop()
        if isinstance(value, list):
            rest += value
        elif isinstance(value, dict):
            for name, inner in value.items():
                if isinstance(inner, str):
                    chars += len(inner) if name in _SAID else 0
                else:
                    rest.append(inner)
    return chars
