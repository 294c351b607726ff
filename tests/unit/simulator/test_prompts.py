"""Prompts in all their shapes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import InvalidRequestError
from ai_client.simulator.prompts import as_texts, embedding_options, prompt_text, prompts_of, tokens_of


def encoded(**fields: Any) -> bytes:
    return msgspec.json.encode(fields)


def test_a_token_for_each_four_characters_and_three_around() -> None:
    assert [tokens_of(chars) for chars in (0, 1, 4, 5, 4_000)] == [3, 4, 4, 5, 1_003]


def test_all_text_of_a_prompt_counts_for_its_prefix() -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
    ]
    assert prompt_text(encoded(model="m", messages=messages)).split("\x1e") == ["", "Be kind.", "One", "two"]
    assert prompt_text(encoded(instructions="I", input="hi")).split("\x1e") == ["I", "hi"]
    assert prompt_text(encoded(prompt=[[1, 2], "a"])).split("\x1e") == ["", "1", "2", "a"]


def test_the_prompts_of_a_completion() -> None:
    assert prompts_of(encoded(prompt="a")) == ["a"]
    assert prompts_of(encoded(prompt=["a", "b"])) == ["a", "b"]
    assert prompts_of(encoded(prompt=[1, 2])) == ["1 2"]
    assert prompts_of(encoded(prompt=[[1, 2], [3]])) == ["1 2", "3"]
    with pytest.raises(InvalidRequestError, match="prompt"):
        prompts_of(encoded(prompt=[1.5]))


def test_no_texts_at_all() -> None:
    assert as_texts([]) == []


def test_embedding_options() -> None:
    options = embedding_options(encoded(input=["a"], dimensions=8, encoding_format="base64"))
    assert (options.input, options.dimensions, options.encoding_format) == (["a"], 8, "base64")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 9_999}, "dimensions"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [None]}, "input"),
    ],
)
def test_embedding_options_that_make_no_sense(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        embedding_options(msgspec.json.encode(fields))
    assert caught.value.param == param
