"""What is read of a request's body, and how a wrong one is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import InvalidRequestError
from ai_client.model.parse import parse
from ai_client.model.request import Endpoint, Fields

HI = [{"role": "user", "content": "hi"}]
DEEP = 100_000
WHOLE = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"prompt":"x","input":"x"}'


def body(**fields: Any) -> bytes:
    return msgspec.json.encode({"model": "m", **fields})


def refused(endpoint: Endpoint, raw: bytes) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse(endpoint, raw)
    assert caught.value.status == 400
    return caught.value


def test_a_chat() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {
            "role": "user",
            "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}}],
        },
        {"role": "tool", "content": "result", "tool_call_id": "1"},
    ]
    raw = body(messages=messages, stream=True, max_tokens=7, n=3, stream_options={"include_usage": True}, odd={"a": 1})
    assert parse(Endpoint.CHAT, raw) == Fields("m", True, 8 + 5 + 4 + 6, 7, "see\n", True, 3)


def test_a_chat_that_says_no_more_than_it_must() -> None:
    assert parse(Endpoint.CHAT, body(messages=HI)) == Fields("m", False, 2, 0, "hi", False, 1)
    nothing = {"stream": None, "max_tokens": None, "n": None, "stream_options": None, "max_completion_tokens": None}
    assert parse(Endpoint.CHAT, body(messages=HI, **nothing)) == Fields("m", False, 2, 0, "hi", False, 1)


def test_the_newer_name_of_the_bound_goes_first() -> None:
    assert parse(Endpoint.CHAT, body(messages=HI, max_tokens=5, max_completion_tokens=9)).max_output == 9


@pytest.mark.parametrize(
    ("prompt", "chars", "text"),
    [
        ("hello", 5, "hello"),
        (["ab", "cde"], 5, "cde"),
        ([1, 2, 3], 12, ""),
        ([[1, 2], [3]], 12, ""),
    ],
)
def test_a_prompt_in_each_of_its_shapes(prompt: Any, chars: int, text: str) -> None:
    expected = Fields("m", False, chars, 0, text)
    assert parse(Endpoint.COMPLETIONS, body(prompt=prompt)) == expected
    assert parse(Endpoint.EMBEDDINGS, body(input=prompt)) == expected


def test_a_completion() -> None:
    raw = body(prompt="x", stream=True, max_tokens=3, n=2, stream_options={"include_usage": True})
    assert parse(Endpoint.COMPLETIONS, raw) == Fields("m", True, 1, 3, "x", True, 2)


@pytest.mark.parametrize(
    ("given", "chars", "text"),
    [
        ("hello", 5, "hello"),
        (HI, 2, "hi"),
        ([*HI, {"role": "assistant", "content": "yes?"}], 6, "hi"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "deep"}]}], 4, "deep"),
        ([{"type": "item_reference", "id": "x"}], 0, ""),
        ([1, 2.5, None, True], 8, ""),
    ],
)
def test_a_response(given: Any, chars: int, text: str) -> None:
    raw = body(input=given, instructions="four", stream=True, max_output_tokens=11)
    assert parse(Endpoint.RESPONSES, raw) == Fields("m", True, chars + 4, 11, text)


def test_a_response_that_builds_on_what_the_provider_has() -> None:
    assert parse(Endpoint.RESPONSES, body(prompt={"id": "pmpt_1"})) == Fields("m")


def test_any_other_body_says_what_it_likes() -> None:
    raw = body(stream=True, anything=[1])
    assert parse(Endpoint.OTHER, raw) == Fields("m", True, len(raw), 0, "")
    assert parse(Endpoint.OTHER, b' {"model": null}').model == ""
    assert parse(Endpoint.OTHER, b"{}").model == ""


@pytest.mark.parametrize("raw", [b"--boundary\r\n", b"RIFF\xff\xfe", b"[1,2]", b"a=b&c=d"])
def test_what_is_no_object_is_the_provider_s_business(raw: bytes) -> None:
    assert parse(Endpoint.OTHER, raw) == Fields("")


@pytest.mark.parametrize("endpoint", Endpoint)
def test_no_body(endpoint: Endpoint) -> None:
    assert "no body" in refused(endpoint, b"").message


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("raw", [b"{", b'{"model"', b"{]", WHOLE + b" x", b'{"model":nan}', b'{"a":"\\ud800"}{'])
def test_malformed_json(endpoint: Endpoint, raw: bytes) -> None:
    assert "not valid JSON" in refused(endpoint, raw).message


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("raw", [b'{"model":"\xff"}', b'{"model":"m","unread":"\xc3("}', b'{"mod\xffel":"m"}'])
def test_invalid_utf_8_wherever_it_stands(endpoint: Endpoint, raw: bytes) -> None:
    message = refused(endpoint, raw).message
    at = next(place for place, byte in enumerate(raw) if byte > 127)
    assert message == f"the request body is not valid UTF-8: see byte {at}"


def test_valid_utf_8_is_fine() -> None:
    raw = '{"model":"m","messages":[{"role":"user","content":"привет 🙂"}],"x":"é"}'.encode()
    assert parse(Endpoint.CHAT, raw).input_chars == 8


WRONG = [
    (Endpoint.CHAT, {"messages": HI, "model": 5}, "model"),
    (Endpoint.CHAT, {"messages": HI, "model": None}, "model"),
    (Endpoint.CHAT, {"messages": "hi"}, "messages"),
    (Endpoint.CHAT, {"messages": [1]}, "messages[0]"),
    (Endpoint.CHAT, {"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
    (Endpoint.CHAT, {"messages": [{"role": 1}]}, "messages[0].role"),
    (Endpoint.CHAT, {"messages": [*HI, {"role": "user", "content": [{"text": 5}]}]}, "messages[1].content[0].text"),
    (Endpoint.CHAT, {"messages": HI, "stream": "yes"}, "stream"),
    (Endpoint.CHAT, {"messages": HI, "max_tokens": "1"}, "max_tokens"),
    (Endpoint.CHAT, {"messages": HI, "max_tokens": 1.5}, "max_tokens"),
    (Endpoint.CHAT, {"messages": HI, "max_tokens": -1}, "max_tokens"),
    (Endpoint.CHAT, {"messages": HI, "max_completion_tokens": -1}, "max_completion_tokens"),
    (Endpoint.CHAT, {"messages": HI, "n": -2}, "n"),
    (Endpoint.CHAT, {"messages": HI, "stream_options": 1}, "stream_options"),
    (Endpoint.CHAT, {"messages": []}, "messages"),
    (Endpoint.CHAT, {}, "messages"),
    (Endpoint.COMPLETIONS, {"prompt": ""}, "prompt"),
    (Endpoint.COMPLETIONS, {"prompt": []}, "prompt"),
    (Endpoint.COMPLETIONS, {"prompt": 5}, "prompt"),
    (Endpoint.COMPLETIONS, {"prompt": "x", "max_tokens": -1}, "max_tokens"),
    (Endpoint.COMPLETIONS, {"prompt": "x", "n": -1}, "n"),
    (Endpoint.COMPLETIONS, {}, "prompt"),
    (Endpoint.EMBEDDINGS, {"input": ""}, "input"),
    (Endpoint.EMBEDDINGS, {"input": []}, "input"),
    (Endpoint.EMBEDDINGS, {"input": {"a": 1}}, "input"),
    (Endpoint.RESPONSES, {"input": 5}, "input"),
    (Endpoint.RESPONSES, {"instructions": 5}, "instructions"),
    (Endpoint.RESPONSES, {"max_output_tokens": -5}, "max_output_tokens"),
    (Endpoint.OTHER, {"model": 5}, "model"),
    (Endpoint.OTHER, {"stream": "x"}, "stream"),
]


@pytest.mark.parametrize(("endpoint", "fields", "param"), WRONG)
def test_what_is_wrong_is_named(endpoint: Endpoint, fields: dict[str, Any], param: str) -> None:
    error = refused(endpoint, body(**fields))
    assert error.param == param
    assert param in error.message


def test_a_vector_wants_its_model_named() -> None:
    error = refused(Endpoint.EMBEDDINGS, b'{"input":"a"}')
    assert (error.param, error.message) == ("model", "the request body is wrong: model is missing")


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.RESPONSES])
def test_a_missing_model_is_as_good_as_an_empty_one(endpoint: Endpoint) -> None:
    asked = b'"messages":[{"role":"user","content":"a"}],"prompt":"a","input":"a"}'
    assert parse(endpoint, b"{" + asked) == parse(endpoint, b'{"model":"",' + asked)


def test_a_body_that_is_no_object() -> None:
    error = refused(Endpoint.CHAT, b"[]")
    assert error.param is None
    assert error.message == "the request body is wrong: Expected `object`, got `array`"


def nested(opening: bytes, closing: bytes) -> bytes:
    return opening * DEEP + b"1" + closing * DEEP


@pytest.mark.parametrize("value", [nested(b"[", b"]"), nested(b'{"a":', b"}")], ids=["lists", "objects"])
@pytest.mark.parametrize(
    ("endpoint", "rest"),
    [
        (Endpoint.CHAT, b'"messages":[{"role":"user","content":"hi"}]'),
        (Endpoint.COMPLETIONS, b'"prompt":"hi"'),
        (Endpoint.EMBEDDINGS, b'"input":"hi"'),
        (Endpoint.RESPONSES, b'"input":"hi"'),
        (Endpoint.OTHER, b'"x":1'),
    ],
)
def test_a_body_nested_without_end_is_refused(endpoint: Endpoint, rest: bytes, value: bytes) -> None:
    assert "nested too deeply" in refused(endpoint, b'{"model":"m",' + rest + b',"deep":' + value + b"}").message


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        (Endpoint.CHAT, b"messages"),
        (Endpoint.COMPLETIONS, b"prompt"),
        (Endpoint.EMBEDDINGS, b"input"),
        (Endpoint.RESPONSES, b"input"),
    ],
)
@pytest.mark.parametrize("depth", [400, 700, 900, 990, DEEP])
def test_a_prompt_nested_deeply_is_measured_or_refused(endpoint: Endpoint, name: bytes, depth: int) -> None:
    raw = b'{"model":"m","' + name + b'":' + b"[" * depth + b"1" + b"]" * depth + b"}"
    try:
        assert parse(endpoint, raw).input_chars == 4
    except InvalidRequestError as error:
        said = error.message
        assert "nested too deeply" in said or endpoint is Endpoint.CHAT
