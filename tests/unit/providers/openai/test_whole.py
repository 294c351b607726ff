"""A whole answer of text says why it ended, or it is not whole."""

from __future__ import annotations

import pytest

from ai_client.errors import BrokenReplyError
from ai_client.model.request import Endpoint
from ai_client.providers.openai.answers import read_answer
from ai_client.routing.rules import BROKEN, rule_for

ENDED = b'{"index":0,"message":{"content":"a"},"finish_reason":"stop"}'
CUT = b'{"index":1,"message":{"content":"a"},"finish_reason":null}'


@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS])
@pytest.mark.parametrize("reason", [b"stop", b"length", b"tool_calls", b"content_filter", b"something new"])
def test_any_reason_will_do(endpoint: Endpoint, reason: bytes) -> None:
    body = b'{"model":"m","choices":[%b,%b]}' % (ENDED, ENDED.replace(b"stop", reason))
    assert read_answer(body, "p", endpoint)[0] == "m"


@pytest.mark.parametrize(
    ("choices", "said"),
    [
        (b"[]", "without a choice: its answer is empty"),
        (b"[ ]", "without a choice: its answer is empty"),
        (b"[%b]" % CUT, "without a finish_reason: its answer is not whole"),
        (b"[%b,%b]" % (ENDED, CUT), "without a finish_reason: its answer is not whole"),
        (b'[{"index":0,"message":{"content":"a"}}]', "without a finish_reason: its answer is not whole"),
        (ENDED.replace(b"stop", b"").join((b"[", b"]")), "without a finish_reason: its answer is not whole"),
        (b"[7]", "a body that is not the JSON it should be .*choices"),
        (b'[{"finish_reason":7}]', "a body that is not the JSON it should be .*choices"),
    ],
)
@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.COMPLETIONS])
def test_what_is_not_whole_is_a_broken_answer(endpoint: Endpoint, choices: bytes, said: str) -> None:
    with pytest.raises(BrokenReplyError, match=said) as caught:
        read_answer(b'{"model":"m","choices":%b}' % choices, "p", endpoint)
    assert rule_for(caught.value) is BROKEN


def test_nobody_judges_what_is_passed_through() -> None:
    assert read_answer(b'{"model":"m","choices":[]}', "p")[0] == "m"
    assert read_answer(b'{"model":"m","choices":[],"output":[]}', "p", Endpoint.RESPONSES)[0] == "m"
