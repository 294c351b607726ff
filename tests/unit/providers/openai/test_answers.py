"""What is read of a whole answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import BrokenReplyError
from ai_client.model.request import Endpoint
from ai_client.model.usage import Usage
from ai_client.providers.openai.answers import read_answer, written

DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}, Usage(9, 2)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 4, 3),
        ),
        (
            {
                "input_tokens": 9,
                "output_tokens": 5,
                "input_tokens_details": {"cached_tokens": 4},
                "output_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 4, 3),
        ),
        ({"prompt_tokens": 9, "total_tokens": 9}, Usage(9)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": None}}, Usage(9)),
        ({"prompt_tokens": 9, "completion_tokens_details": {"reasoning_tokens": None}}, Usage(9)),
        ({"prompt_tokens": 0, "total_tokens": 0}, Usage()),
        ({"prompt_tokens": None, "prompt_tokens_details": None}, None),
        ({"prompt_tokens": 9, "estimated": True}, Usage(9, estimated=True)),
        ({"prompt_tokens": 9, "estimated": "perhaps"}, Usage(9)),
        ({"total_tokens": 9}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage_in_each_of_its_shapes(usage: dict[str, Any] | None, expected: Usage | None) -> None:
    assert read_answer(msgspec.json.encode({"model": "m-1", "usage": usage, "x": 1}), "p") == ("m-1", expected)


@pytest.mark.parametrize("body", [b"{}", b'{"model":null}'])
def test_an_answer_that_says_nothing_of_itself(body: bytes) -> None:
    assert read_answer(body, "p") == ("", None)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "p answered with an empty body"),
        (b" \r\n", "p answered with an empty body"),
        (b"{", "not the JSON it should be"),
        (b"[]", "not the JSON it should be"),
        (b"<html>busy</html>", "not the JSON it should be"),
        (b'{"model":5}', "not the JSON it should be"),
        (b'{"usage":{"prompt_tokens":"9"}}', "not the JSON it should be"),
        (b'{"model":"\xff"}', "not the JSON it should be"),
        (DEEP, "not the JSON it should be"),
        (b'{"error":{"message":"on strike","code":5}}', "an error where an answer was due: on strike"),
        (b'{"error":"on strike"}', "an error where an answer was due: on strike"),
        (b'{"error":{}}', "an error where an answer was due: no reason given"),
    ],
)
def test_what_is_no_answer(body: bytes, said: str) -> None:
    with pytest.raises(BrokenReplyError, match=said):
        read_answer(body, "p")


@pytest.mark.parametrize(
    ("endpoint", "member"),
    [
        (Endpoint.CHAT, "choices"),
        (Endpoint.COMPLETIONS, "choices"),
        (Endpoint.EMBEDDINGS, "data"),
        (Endpoint.RESPONSES, "output"),
    ],
)
def test_an_answer_has_what_its_endpoint_answers_with(endpoint: Endpoint, member: str) -> None:
    content: list[Any] = [{"finish_reason": "stop"}] if member == "choices" else []
    assert read_answer(msgspec.json.encode({"model": "m-1", member: content, "error": None}), "p", endpoint)[0] == "m-1"
    bodies: list[dict[str, Any]] = [{}, {member: None}, {member: {}}]
    said = rf"p answered without {member}|p answered with a body that .* at `\$\.{member}`"
    for body in bodies:
        with pytest.raises(BrokenReplyError, match=said):
            read_answer(msgspec.json.encode(body), "p", endpoint)


MESSAGE = {
    "role": "assistant",
    "content": "four",
    "reasoning_content": "why",
    "refusal": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "sum", "arguments": '{"a":1}'}}],
}
CHOICE = {"message": MESSAGE, "finish_reason": "stop"}
OUTPUT = {"type": "message", "content": [{"type": "output_text", "text": "four", "annotations": []}]}


@pytest.mark.parametrize(
    ("endpoint", "answer", "output"),
    [
        (Endpoint.CHAT, {"choices": [CHOICE]}, 17),
        (Endpoint.CHAT, {"choices": [CHOICE, CHOICE], "usage": {}}, 34),
        (
            Endpoint.COMPLETIONS,
            {"choices": [{"text": "four", "logprobs": {"tokens": ["f"]}, "finish_reason": "stop"}]},
            4,
        ),
        (Endpoint.RESPONSES, {"output": [OUTPUT, {"type": "function_call", "name": "sum", "arguments": "{}"}]}, 9),
        (Endpoint.EMBEDDINGS, {"data": [{"embedding": [0.5]}]}, 0),
    ],
)
def test_what_the_provider_did_not_count_can_be(endpoint: Endpoint, answer: dict[str, Any], output: int) -> None:
    body = msgspec.json.encode(answer)
    assert read_answer(body, "p", endpoint)[1] is None
    assert written(body, endpoint) == output


def test_content_that_cannot_be_read_counts_by_its_size() -> None:
    body = b'{"output":[{"content":[{"text":"\xff\xff"}]}]}'
    assert written(body, Endpoint.RESPONSES) == 29
