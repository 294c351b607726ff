"""A text that broke off, as the beginning of an assistant's message."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.model.prefill import can_be_taken_up, unspaced, write_prefill

HI = [{"role": "user", "content": "hi"}]


def chat(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": HI, "stream": True, **fields})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tools": [], "functions": None, "logprobs": False, "modalities": ["text"], "audio": None},
        {"response_format": {"type": "text"}, "temperature": 0.5, "max_tokens": 5},
        {"response_format": None, "messages": [{"role": "assistant", "content": "a"}, *HI]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
    ],
)
def test_plain_text_can_be_taken_up(fields: dict[str, Any]) -> None:
    assert can_be_taken_up(chat(**fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function"}]},
        {"functions": [{"name": "f"}]},
        {"logprobs": True},
        {"audio": {"voice": "x"}},
        {"modalities": ["text", "audio"]},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {}}},
        {"response_format": "text"},
        {"messages": [*HI, {"role": "assistant", "content": "begun"}]},
        {"messages": []},
        {"messages": "hi"},
    ],
)
def test_other_answers_cannot(fields: dict[str, Any]) -> None:
    assert not can_be_taken_up(chat(**fields))


@pytest.mark.parametrize(
    ("text", "parts"), [("a b", ("a b", "")), ("a b \n", ("a b", " \n")), ("\n ", ("", "\n ")), ("", ("", ""))]
)
def test_the_white_space_at_its_end_is_apart(text: str, parts: tuple[str, str]) -> None:
    assert unspaced(text) == parts


def written(style: str, beginning: str = "a" * 40, **fields: Any) -> dict[str, Any]:
    members = msgspec.json.decode(chat(**fields), type=dict[str, msgspec.Raw])
    write_prefill(members, beginning, style)
    return msgspec.json.decode(msgspec.json.encode(members), type=dict[str, Any])


@pytest.mark.parametrize(
    ("style", "message", "more"),
    [
        ("plain", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("echo", {"prefix": True}, {}),
        ("vllm", {}, {"continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_each_style(style: str, message: dict[str, Any], more: dict[str, Any]) -> None:
    asked = written(style)
    assert asked.pop("messages") == [*HI, {"role": "assistant", "content": "a" * 40, **message}]
    assert asked == {"model": "m", "stream": True, **more}


def test_what_came_already_is_taken_off_the_bound() -> None:
    assert written("plain", max_tokens=100)["max_tokens"] == 90
    asked = written("plain", max_completion_tokens=5, max_tokens=None)
    assert (asked["max_completion_tokens"], asked["max_tokens"]) == (1, None), "one token is for its end"


def test_of_nothing_but_white_space_the_model_may_begin_itself() -> None:
    assert written("vllm", "", max_tokens=9) == {"model": "m", "stream": True, "messages": HI, "max_tokens": 9}
