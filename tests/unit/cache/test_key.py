"""When two calls are the same call, case by case."""

from __future__ import annotations

import pytest

from ai_client.cache.key import cache_key
from ai_client.model.call import Headers
from ai_client.model.request import Endpoint

CHAT = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"hi"}],"temperature":1}'


def key(
    body: bytes = CHAT,
    *,
    endpoint: Endpoint = Endpoint.CHAT,
    path: str = "/chat/completions",
    scope: str = "app",
    headers: Headers | None = None,
) -> bytes:
    return cache_key(endpoint, path, scope, headers or [], body)


def with_member(text: bytes) -> bytes:
    return CHAT[:-1] + b"," + text + b"}"


def test_a_key_is_32_bytes_and_the_same_tomorrow() -> None:
    """A changed key makes every cache on every disk worthless: then change the namespace, and this."""
    assert key().hex() == "3c42b1e97372320f6a37de2c69ed49f207bd12918e4225a61e47020646070103"


@pytest.mark.parametrize(
    "same",
    [
        CHAT.replace(b":", b" :\r\n\t "),
        b' {"temperature":1,"messages":[{"content":"hi","role":"user"}],"model":"gpt-4.1"} ',
        CHAT.replace(b'"hi"', b'"\\u0068i"'),
        CHAT.replace(b'"model"', b'"mod\\u0065l"'),
    ],
)
def test_the_same_call_written_in_another_way(same: bytes) -> None:
    assert key(same) == key()


@pytest.mark.parametrize(
    "other",
    [
        CHAT.replace(b"hi", b"Hi"),
        CHAT.replace(b"hi", b"hi "),
        CHAT.replace(b"1}", b"1.0}"),
        CHAT.replace(b"1}", b"true}"),
        CHAT.replace(b"1}", b'"1"}'),
        CHAT.replace(b"1}", b"null}"),
        with_member(b'"seed":7'),
        with_member(b'"stream":true'),
        with_member(b'"stream":true,"stream_options":{"include_usage":true}'),
        with_member(b'"metadata":{"user":"x"}'),
        CHAT.replace(b'"content":"hi"', b'"content":"hi","user":"x"'),
    ],
)
def test_another_call(other: bytes) -> None:
    assert key(other) != key()


def test_numbers_are_compared_as_they_are_written() -> None:
    written = "1 1.0 1e0 10e-1 0.1 0.10 1e400 1e401 0.1000000000000000055 0.1000000000000000056"
    huge = ["123456789012345678901", "123456789012345678902", "1" * 5000, "2" * 5000]
    numbers = [each.encode() for each in [*written.split(), *huge]]
    assert len({key(CHAT.replace(b"1}", number + b"}")) for number in numbers}) == len(numbers)


def test_the_order_of_a_list_matters() -> None:
    assert key(b'{"stop":["a","b"]}') != key(b'{"stop":["b","a"]}')


@pytest.mark.parametrize(
    "member", [b'"user":"u"', b'"safety_identifier":"s"', b'"prompt_cache_key":"k"', b'"user":null']
)
def test_who_asks_on_whose_behalf_does_not_matter_except_where_it_is_repeated(member: bytes) -> None:
    assert key(with_member(member)) == key()
    assert key(with_member(member), endpoint=Endpoint.RESPONSES) != key(endpoint=Endpoint.RESPONSES)


def test_a_member_named_twice_is_compared_byte_by_byte() -> None:
    """Some readers take the first, some the last."""
    twice = [
        b'{"a":1,"a":2}',
        b'{"a":2,"a":1}',
        b'{"a":2}',
        b'{"a":1}',
        b'{"a":1, "a":2}',
        b'{"\\u0061":1,"a":2}',
        b'{"a":1,"a":2,"b":{"c":"}\\\\\\""}}',
        b'{"a":2,"b":{"c":"}\\\\\\""}}',
    ]
    assert len(set(map(key, twice))) == len(twice)


def test_broken_bodies_are_compared_byte_by_byte() -> None:
    broken = [b"", b"{", b'{"a":1', b'{"a":1 ', b"\xff", b'"\xff"', b'"\\ud800"', b"[" * 100_000, b"[" * 99_999, b"nul"]
    assert len(set(map(key, broken))) == len(broken)


def test_a_body_that_looks_like_a_canonical_one_is_not_taken_for_it() -> None:
    assert key(b"[1,2]") == key(b"[1, 2]")
    assert key(b"[1,2") != key(b"[1, 2")


def test_path_query_and_scope_matter() -> None:
    keys = {
        key(),
        key(path="/chat/completions?api-version=2"),
        key(scope="other"),
        key(scope=""),
        key(path="/completions", endpoint=Endpoint.COMPLETIONS),
    }
    assert len(keys) == 5


def test_the_parts_do_not_run_into_one_another() -> None:
    assert key(path="/a", scope="bc") != key(path="/ab", scope="c")
    assert key(headers=[(b"x", b"yz")]) != key(headers=[(b"xy", b"z")])
    assert key(headers=[(b"a", b"b"), (b"c", b"d")]) != key(headers=[(b"a", b"c"), (b"b", b"d")])


def test_headers_that_may_change_the_answer_matter() -> None:
    beta: Headers = [(b"openai-beta", b"assistants=v2")]
    assert key(headers=beta) != key()
    assert key(headers=[*beta, (b"x", b"y")]) == key(headers=[(b"x", b"y"), *beta])


@pytest.mark.parametrize("name", [b"content-type", b"idempotency-key", b"traceparent", b"tracestate", b"x-request-id"])
def test_headers_of_one_sending_do_not(name: bytes) -> None:
    assert key(headers=[(name, b"7")]) == key()
