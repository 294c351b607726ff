"""Keys of any JSON: how it is written never matters, what it says always does."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from ai_client.cache.key import IGNORED_FIELDS, cache_key
from ai_client.model.request import Endpoint

leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10)
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)
names = st.sampled_from(["model", "messages", "temperature", "a", '"', "\\", "é"]) | st.text(max_size=5)
bodies = st.dictionaries(names.filter(lambda name: name not in IGNORED_FIELDS), values, max_size=6)


def key(body: bytes, endpoint: Endpoint = Endpoint.CHAT) -> bytes:
    return cache_key(endpoint, endpoint.value, "app", [], body)


def write(value: Any, style: random.Random) -> bytes:
    """The same JSON, written in some way: order, white space and escapes drawn from `style`."""

    def gap() -> str:
        return "".join(style.choices(" \t\r\n", k=style.choice((0, 0, 1, 3))))

    def render(value: Any) -> str:
        if isinstance(value, dict):
            members = [f"{gap()}{render(name)}{gap()}:{gap()}{render(each)}" for name, each in value.items()]
            style.shuffle(members)
            return "{" + f"{gap()},".join(members) + gap() + "}"
        if isinstance(value, list):
            return "[" + ",".join(f"{gap()}{render(each)}{gap()}" for each in value) + "]"
        return json.dumps(value, ensure_ascii=style.random() < 0.5)

    return (gap() + render(value) + gap()).encode()


def said(value: Any) -> Any:
    """What must differ for two keys to differ: in Python, 1 == 1.0 == True."""
    if isinstance(value, dict):
        return ("object", frozenset((name, said(each)) for name, each in value.items()))
    if isinstance(value, list):
        return ("list", tuple(map(said, value)))
    return (type(value).__name__, json.dumps(value))


@given(bodies, st.randoms(use_true_random=False))
def test_how_it_is_written_does_not_matter(body: dict[str, Any], style: random.Random) -> None:
    assert key(write(body, style)) == key(json.dumps(body).encode())


@given(bodies, bodies)
@example({"a": 1}, {"a": 1.0})
@example({"a": 1}, {"a": True})
@example({"a": [1, 2]}, {"a": [2, 1]})
@example({"a": ""}, {"a": None})
@example({"a": 10**19}, {"a": 10**19 + 1})
def test_what_it_says_does(one: dict[str, Any], other: dict[str, Any]) -> None:
    same = said(one) == said(other)
    assert (key(json.dumps(one).encode()) == key(json.dumps(other).encode())) is same


@given(bodies.filter(bool), values, st.data())
def test_any_change_of_a_value_changes_the_key(body: dict[str, Any], value: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(body)))
    assume(said(body[name]) != said(value))
    assert key(json.dumps({**body, name: value}).encode()) != key(json.dumps(body).encode())


@given(bodies, st.dictionaries(st.sampled_from(sorted(IGNORED_FIELDS)), values, min_size=1))
def test_ignored_members_are_ignored_at_the_top_alone(body: dict[str, Any], ignored: dict[str, Any]) -> None:
    plain, marked = json.dumps(body).encode(), json.dumps({**ignored, **body}).encode()
    assert key(marked) == key(plain)
    assert key(marked, Endpoint.RESPONSES) != key(plain, Endpoint.RESPONSES)
    assert key(b'{"x":' + marked + b"}") != key(b'{"x":' + plain + b"}")


@given(bodies.filter(bool), values, st.randoms(use_true_random=False), st.data())
def test_a_member_named_twice_is_never_folded(
    body: dict[str, Any], value: Any, style: random.Random, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(body)))
    plain = json.dumps(body)
    member = f"{json.dumps(name, ensure_ascii=style.random() < 0.5)}:{json.dumps(value)}"
    twice = f"{{{member},{plain[1:]}".encode(), f"{plain[:-1]},{member}}}".encode()
    for each in twice:
        assert key(each) not in {key(plain.encode()), key(json.dumps({**body, name: value}).encode())}
        assert key(each) == key(each)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_have_a_key(one: bytes, other: bytes) -> None:
    assert len(key(one)) == 32
    if key(one) == key(other):
        assert one == other or json.loads(one) == json.loads(other)
