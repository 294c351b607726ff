"""Any bytes at all: read, or refused with a reason; never a crash."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ai_client.errors import InvalidRequestError
from ai_client.model.parse import parse
from ai_client.model.request import Endpoint, Fields

endpoints = st.sampled_from(list(Endpoint))
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    [
        "model",
        "messages",
        "stream",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "stream_options",
        "prompt",
        "input",
        "instructions",
        "role",
    ]
)
bodies = st.dictionaries(names, json, max_size=8).map(lambda fields: {"model": "m", **fields})


def read(endpoint: Endpoint, raw: bytes) -> Fields | None:
    try:
        return parse(endpoint, raw)
    except InvalidRequestError as error:
        if not error.message:
            raise AssertionError("no reason given") from error
        return None


@given(endpoints, st.binary(max_size=200))
def test_any_bytes(endpoint: Endpoint, raw: bytes) -> None:
    read(endpoint, raw)
    read(endpoint, b"{" + raw)


@given(endpoints, bodies)
def test_any_json(endpoint: Endpoint, fields: dict[str, Any]) -> None:
    found = read(endpoint, msgspec.json.encode(fields))
    if found is not None:
        assert isinstance(found.model, str)
        assert found.stream in (True, False)
        assert found.input_chars >= 0
        assert found.max_output >= 0
        assert found.choices >= 1


@given(st.lists(st.tuples(st.sampled_from(["user", "system", "assistant"]), st.text()), min_size=1, max_size=6))
def test_the_characters_of_a_chat_are_counted(said: list[tuple[str, str]]) -> None:
    messages = [{"role": role, "content": text} for role, text in said]
    found = parse(Endpoint.CHAT, msgspec.json.encode({"model": "m", "messages": messages}))
    assert found.input_chars == sum(len(text) for _, text in said)
    assert found.text == next((text for role, text in reversed(said) if role == "user"), "")


@given(endpoints, bodies, st.data())
def test_a_body_that_was_cut_off_is_refused(endpoint: Endpoint, fields: dict[str, Any], data: st.DataObject) -> None:
    raw = msgspec.json.encode(fields)
    cut = raw[: data.draw(st.integers(1, len(raw) - 1))]
    assert read(endpoint, cut) is None
