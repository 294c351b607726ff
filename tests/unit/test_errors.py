"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import re

import pytest

import ai_client.errors
from ai_client.errors import (
    RETRYABLE_STATUSES,
    AIClientError,
    BrokenReplyError,
    ConfigurationError,
    ConnectError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    RequestError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)

_LINE = r"^    ([│ ]*)[├└]? ?(\w+Error) *(\d{3}|…)? *(.*?)(\(retryable\)|\(by status\))?$"
DRAWN = re.findall(_LINE, ai_client.errors.__doc__ or "", re.MULTILINE)
CLASSES = {
    name: value
    for name, value in vars(ai_client.errors).items()
    if isinstance(value, type) and issubclass(value, AIClientError)
}


def test_every_error_is_drawn_and_no_other() -> None:
    names = [name for _, name, *_ in DRAWN]
    assert sorted(names) == sorted(CLASSES)


@pytest.mark.parametrize(("status", "kind", "note"), [(row[2], CLASSES[row[1]], row[4]) for row in DRAWN])
def test_status_and_retryable_are_as_drawn(status: str, kind: type[AIClientError], note: str) -> None:
    if status.isdigit():
        assert kind.status == int(status)
    if note != "(by status)" and kind is not UpstreamError:
        assert kind.retryable == (note == "(retryable)")


def test_parents_are_as_drawn() -> None:
    path: list[str] = []
    for indent, name, *_ in DRAWN:
        depth = 0 if name == "AIClientError" else len(indent) // 2 + 1
        path[depth:] = [name]
        if depth:
            assert CLASSES[name].__base__ is CLASSES[path[depth - 1]], name


def test_an_error_carries_what_happened() -> None:
    error = InvalidRequestError("messages is empty", param="messages", retry_after=2.5)
    assert (str(error), error.message, error.param, error.retry_after) == (
        "messages is empty",
        "messages is empty",
        "messages",
        2.5,
    )
    assert isinstance(error, RequestError)


def test_configuration_problems_are_listed() -> None:
    one = ConfigurationError(["a.conf:1: bad"])
    assert str(one) == "1 configuration mistake:\n  a.conf:1: bad"
    two = ConfigurationError(["x", "y"])
    assert str(two) == "2 configuration mistakes:\n  x\n  y"
    assert two.problems == ("x", "y")


def test_what_was_sent_is_known() -> None:
    assert UpstreamError("x").sent
    assert BrokenReplyError("x", retry_after=1.0).retry_after == 1.0
    assert not ConnectError("x").sent
    assert not UpstreamTimeoutError("x", phase="connect").sent
    late = UpstreamTimeoutError("x", phase="idle")
    assert (late.sent, late.phase) == (True, "idle")


@pytest.mark.parametrize("status", [400, 408, 409, 429, 500, 501, 502, 503, 504, 529])
def test_a_status_says_whether_to_try_again(status: int) -> None:
    error = UpstreamStatusError("x", status=status, body=b"{}", retry_after=3.0)
    assert (error.status, error.retryable) == (status, status in RETRYABLE_STATUSES)
    assert (error.code, error.body, error.retry_after) == ("upstream_error", b"{}", 3.0)
    assert UpstreamStatusError("x", status=status, code="busy").code == "busy"


def test_quota_and_load_may_be_tried_again() -> None:
    assert RateLimitedError("x").retryable
    assert OverloadedError("x").retryable
