"""Which calls the cache answers."""

from __future__ import annotations

import pytest

from ai_client.cache.policy import CachePolicy
from ai_client.model.request import Endpoint

ALL = CachePolicy.of(3600, "all")
DETERMINISTIC = CachePolicy.of(3600, "deterministic")
CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = (
    Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS, Endpoint.RESPONSES,
)  # fmt: skip
HI = b'{"model":"m","messages":[{"role":"user","content":"hi"}]'


def test_from_the_configuration() -> None:
    assert CachePolicy.of(0.5, "all") == CachePolicy(500_000_000)
    assert CachePolicy.of(3600, "deterministic") == CachePolicy(3_600_000_000_000, deterministic_only=True)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (CHAT, HI + b"}"),
        (CHAT, HI + b',"n":3,"temperature":1.5,"stream":true}'),
        (CHAT, HI + b',"store":false,"seed":null}'),
        (CHAT, HI + b',"tools":[{"type":"function","function":{"name":"f"}},{"type":"custom"},{"name":"f"}]}'),
        (CHAT, HI + b',"tools":null}'),
        (COMPLETIONS, b'{"model":"m","prompt":"hi"}'),
        (COMPLETIONS, b'{"model":"m","prompt":[1,2]}'),
        (EMBEDDINGS, b'{"model":"m","input":"hi"}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"previous_response_id":null,"background":false}'),
    ],
)
def test_covered(endpoint: Endpoint, body: bytes) -> None:
    assert ALL.covers(endpoint, body)


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (Endpoint.OTHER, b"{}"),
        (CHAT, HI + b',"store":true}'),
        (CHAT, HI + b',"web_search_options":{}}'),
        (CHAT, HI + b',"tools":[{"type":"function"},{"type":"web_search"}]}'),
        (RESPONSES, b'{"model":"m","input":"hi"}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":null}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":true}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"previous_response_id":"resp_1"}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"conversation":"conv_1"}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"conversation":{"id":"conv_1"}}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"prompt":{"id":"pmpt_1"}}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"background":true}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"tools":[{"type":"code_interpreter"}]}'),
        (RESPONSES, b'{"model":"m","input":"hi","store":false,"tools":[{"type":"mcp"}]}'),
    ],
)
def test_not_covered(endpoint: Endpoint, body: bytes) -> None:
    assert not ALL.covers(endpoint, body)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"\xff", b'{"temperature":"hot"}', b'{"store":1}', b'{"tools":[1]}']
)
def test_what_cannot_be_read_is_not_covered(body: bytes) -> None:
    assert not ALL.covers(CHAT, body)


@pytest.mark.parametrize("ttl", [0, -1])
def test_no_time_to_keep_them_is_no_cache(ttl: int) -> None:
    assert not CachePolicy(ttl).covers(EMBEDDINGS, b"{}")


@pytest.mark.parametrize(
    ("endpoint", "body", "covered"),
    [
        (CHAT, HI + b',"temperature":0}', True),
        (CHAT, HI + b',"temperature":0.0}', True),
        (CHAT, HI + b',"seed":0}', True),
        (CHAT, HI + b',"temperature":1,"seed":7}', True),
        (CHAT, HI + b"}", False),
        (CHAT, HI + b',"temperature":null}', False),
        (CHAT, HI + b',"temperature":0.1}', False),
        (CHAT, HI + b',"temperature":0,"store":true}', False),
        (COMPLETIONS, b'{"prompt":"hi","temperature":0}', True),
        (COMPLETIONS, b'{"prompt":"hi"}', False),
        (EMBEDDINGS, b'{"input":"hi"}', True),
        (RESPONSES, b'{"input":"hi","store":false,"temperature":0}', True),
        (RESPONSES, b'{"input":"hi","store":false}', False),
    ],
)
def test_only_what_is_deterministic(endpoint: Endpoint, body: bytes, *, covered: bool) -> None:
    assert DETERMINISTIC.covers(endpoint, body) is covered


@pytest.mark.parametrize(("status", "kept"), [(200, True), (201, False), (206, False), (302, False), (500, False)])
def test_only_a_plain_success_is_kept(status: int, *, kept: bool) -> None:
    assert ALL.keeps(status) is kept
