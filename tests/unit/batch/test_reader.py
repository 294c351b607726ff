"""Every shape of a line, and everything that can be wrong with one."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from ai_client.batch.job import Defaults
from ai_client.batch.reader import Blank, Item, Line, Rejected, read
from ai_client.model.request import Endpoint

LIMIT = 1000


def lines_of(text: bytes, defaults: Defaults | None = None, limit: int = LIMIT) -> list[Line]:
    return list(read(io.BytesIO(text), defaults or Defaults(), limit))


def item_of(line: dict[str, Any], defaults: Defaults | None = None) -> Item:
    (found,) = lines_of(json.dumps(line).encode(), defaults)
    assert isinstance(found, Item), found
    return found


def rejected(text: bytes) -> Rejected:
    (found,) = lines_of(text)
    assert isinstance(found, Rejected), found
    assert found.line == 1
    return found


def test_an_openai_line_keeps_its_body_byte_for_byte() -> None:
    body = b'{ "model":"m",  "messages": [{"role":"user","content":"h\\u00e9"}],"x_unknown": 1.50 }'
    text = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":' + body + b"}\n"
    assert lines_of(text) == [Item(1, "a", Endpoint.CHAT, body)]


@pytest.mark.parametrize("endpoint", [endpoint for endpoint in Endpoint if endpoint.value])
@pytest.mark.parametrize("prefix", ["/v1", ""])
def test_an_openai_line_names_its_endpoint(endpoint: Endpoint, prefix: str) -> None:
    line = {"custom_id": "a", "url": prefix + endpoint.value, "body": {"model": "m"}}
    assert item_of(line, Defaults(Endpoint.EMBEDDINGS)).endpoint is endpoint


def test_plain_messages_are_the_body_without_the_name() -> None:
    item = item_of({"custom_id": "a", "messages": [{"role": "user", "content": "x"}], "model": "m", "top_p": 0.5})
    assert item.custom_id == "a"
    assert json.loads(item.body) == {"messages": [{"role": "user", "content": "x"}], "model": "m", "top_p": 0.5}


def test_a_prompt_becomes_a_chat_of_one_message() -> None:
    item = item_of({"prompt": 'say "ä"', "model": "m"})
    assert item.endpoint is Endpoint.CHAT
    assert json.loads(item.body) == {"model": "m", "messages": [{"role": "user", "content": 'say "ä"'}]}


@pytest.mark.parametrize(
    ("endpoint", "line"),
    [
        (Endpoint.COMPLETIONS, {"prompt": "x", "model": "m"}),
        (Endpoint.COMPLETIONS, {"prompt": ["x", "y"], "model": "m"}),
        (Endpoint.EMBEDDINGS, {"input": ["x", "y"], "model": "m"}),
        (Endpoint.RESPONSES, {"input": "x", "model": "m"}),
    ],
)
def test_plain_lines_of_other_endpoints_are_sent_as_they_are(endpoint: Endpoint, line: dict[str, Any]) -> None:
    item = item_of(line, Defaults(endpoint))
    assert (item.endpoint, json.loads(item.body)) == (endpoint, line)


@pytest.mark.parametrize(
    ("named", "custom_id"),
    [
        ({"id": "b"}, "b"),
        ({"id": 81}, "81"),
        ({"custom_id": "a", "id": "b"}, "a"),
        ({}, "line-000001"),
        ({"id": None}, "line-000001"),
    ],
)
def test_a_line_has_a_name(named: dict[str, Any], custom_id: str) -> None:
    item = item_of({**named, "prompt": "x", "model": "m"})
    assert item.custom_id == custom_id
    assert json.loads(item.body).keys() == {"model", "messages"}


def test_what_a_line_leaves_open_is_filled_in() -> None:
    defaults = Defaults(model="auto", max_tokens=9, temperature=0.5)
    assert json.loads(item_of({"prompt": "x"}, defaults).body) == {
        "messages": [{"role": "user", "content": "x"}],
        "model": "auto",
        "max_tokens": 9,
        "temperature": 0.5,
    }
    own = {"messages": [], "model": "m", "max_completion_tokens": 3, "temperature": 1}
    assert json.loads(item_of(own, defaults).body) == own
    line = {"url": "/v1/responses", "body": {"input": "x"}}
    assert json.loads(item_of(line, defaults).body) == {
        "input": "x",
        "model": "auto",
        "max_output_tokens": 9,
        "temperature": 0.5,
    }
    line = {"url": "/v1/embeddings", "body": {"input": "x"}}
    assert json.loads(item_of(line, defaults).body) == {"input": "x", "model": "auto"}


def test_a_line_without_a_model_asks_for_the_configured_one() -> None:
    assert json.loads(item_of({"prompt": "x"}).body)["model"] == ""


def test_blank_lines_keep_their_numbers() -> None:
    text = b'\n{"prompt":"x"}\r\n  \t\r\n{"prompt":"y"}'
    first, second, third, fourth = lines_of(text)
    assert (first, third) == (Blank(1), Blank(3))
    assert isinstance(second, Item)
    assert isinstance(fourth, Item)
    assert (second.custom_id, fourth.custom_id) == ("line-000002", "line-000004")


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    (found,) = lines_of(b'\xef\xbb\xbf{"prompt":"x"}')
    assert isinstance(found, Item)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"prompt": "x"', "not valid JSON"),
        (b'{"prompt": "x"} {}', "not valid JSON"),
        (b"[1]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b'{"prompt": "\xff"}', "not UTF-8: byte 13"),
        (b'{"a": ' + b"[" * 400 + b"]" * 400 + b"}", "has no"),
        (b"{}", 'has no "messages" or "prompt"'),
        (b'{"prompt": "x", "messages": []}', 'both "messages" and "prompt"'),
        (b'{"prompt": 1}', "prompt must be a string"),
        (b'{"prompt": ""}', "prompt is empty"),
        (b'{"custom_id": {}, "prompt": "x"}', "custom_id must be a string"),
        (b'{"custom_id": "", "prompt": "x"}', "custom_id is empty"),
        (b'{"prompt": "x", "stream": true}', "stream is true"),
        (b'{"url": "/v1/chat/completions"}', "body is missing"),
        (b'{"body": {}}', "url is missing: one of /v1/chat/completions"),
        (b'{"url": "/v1/files", "body": {}}', "url is '/v1/files': it must be one of"),
        (b'{"url": 3, "body": {}}', "url must be a string"),
        (b'{"url": "/v1/chat/completions", "method": "GET", "body": {}}', "method is 'GET': it must be POST"),
        (b'{"url": "/v1/chat/completions", "body": []}', "body is not a JSON object"),
    ],
)
def test_a_broken_line_says_what_is_wrong(text: bytes, said: str) -> None:
    found = rejected(text)
    assert found.code == "invalid_line"
    assert found.message.startswith("line 1: ")
    assert said in found.message


def test_a_line_nested_beyond_reason_is_broken_and_no_crash() -> None:
    (found,) = lines_of(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", limit=1_000_000)
    assert isinstance(found, Rejected)
    assert "nested too deeply" in found.message


def test_a_long_value_is_shown_in_part() -> None:
    assert len(rejected(b'{"url": "' + b"x" * 900 + b'", "body": {}}').message) < 300


def test_an_oversized_line_is_skipped_and_the_next_is_read() -> None:
    text = b'{"prompt":"' + b"x" * 5000 + b'"}\n{"prompt":"y"}\n'
    first, second = lines_of(text)
    assert first == Rejected(1, None, "line_too_large", "line 1 is longer than 1000 bytes")
    assert isinstance(second, Item)


def test_a_line_of_just_the_limit_is_read() -> None:
    text = b'{"prompt":"%s"}' % (b"x" * (LIMIT - 13))
    assert len(text) == LIMIT
    assert isinstance(lines_of(text + b"\n")[0], Item)
    assert isinstance(lines_of(text)[0], Item)
    assert isinstance(lines_of(text + b" ")[0], Rejected)
    assert isinstance(lines_of(text + b" \n")[0], Rejected)


def test_a_skipped_line_is_never_held_whole() -> None:
    class Watched(io.BytesIO):
        longest = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            text = super().readline(size)
            self.longest = max(self.longest, len(text))
            return text

    file = Watched(b"x" * 5_000_000 + b"\n" + b'{"prompt":"y"}\n')
    assert [type(line) for line in read(file, Defaults(), LIMIT)] == [Rejected, Item]
    assert file.longest <= 1 << 20


def test_a_name_is_used_once() -> None:
    text = b'{"id":"a","prompt":"1"}\n{"custom_id":"a","prompt":"2"}\n{"id":"b","prompt":"3"}\n'
    first, second, third = lines_of(text)
    assert isinstance(first, Item)
    assert second == Rejected(2, "a", "duplicate_custom_id", "line 2: custom_id 'a' was used by an earlier line")
    assert isinstance(third, Item)


def test_a_given_name_may_not_be_that_of_an_unnamed_line() -> None:
    first, second = lines_of(b'{"prompt":"1"}\n{"id":"line-000001","prompt":"2"}\n')
    assert isinstance(first, Item)
    assert isinstance(second, Rejected)
