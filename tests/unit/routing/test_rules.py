"""One table: what may be tried again, where, and when."""

from __future__ import annotations

import pytest

from ai_client import errors
from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    BrokenReplyError,
    CircuitOpenError,
    ConnectError,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.routing import rules
from ai_client.routing.rules import QUICK_TRIES, QUICK_WINDOW, Onward, Rule, may_repeat, rule_for, spaced


def status(number: int, code: str | None = None) -> UpstreamStatusError:
    return UpstreamStatusError("x", status=number, code=code)


@pytest.mark.parametrize(
    ("error", "rule"),
    [
        (status(429), rules.RATE_LIMITED),
        (status(429, "insufficient_quota"), rules.QUOTA_SPENT),
        *((status(number), rules.SERVER) for number in sorted(errors.RETRYABLE_STATUSES - {429})),
        (status(501), rules.REQUEST),
        (status(418), rules.REQUEST),
        (UpstreamError("x"), rules.SERVER),
        (BrokenReplyError("x"), rules.BROKEN),
        (ConnectError("x"), rules.UNREACHABLE),
        *((UpstreamTimeoutError("x", phase=phase), rules.SILENT) for phase in ("first_byte", "first_token", "idle")),
        (UpstreamTimeoutError("x", phase="connect"), rules.SILENT),
        (RateLimitedError("x"), rules.OWN_QUOTA),
        (OverloadedError("x"), rules.OWN_QUOTA),
        (CircuitOpenError("x"), rules.OWN_QUOTA),
        (ContextLengthError("x"), rules.CONTEXT),
        (ContentPolicyError("x"), rules.POLICY),
        (InvalidRequestError("x"), rules.REQUEST),
        (AuthenticationError("x"), rules.REQUEST),
        (DeadlineExceededError("x"), rules.DEADLINE),
        (AIClientError("x"), rules.REQUEST),
    ],
    ids=repr,
)
def test_each_error_has_its_rule(error: AIClientError, rule: Rule) -> None:
    assert rule_for(error) is rule
    assert rule in rules.TABLE


def test_what_comes_back_at_once_is_not_tried_again_either() -> None:
    assert all(rule.again == 0 for rule in rules.TABLE if rule.onward is not Onward.ANY)


def test_what_is_not_ours_to_repeat_is_repeated_only_where_nothing_was_done() -> None:
    assert may_repeat(rules.SERVER, status(500), repeatable=True)
    assert not may_repeat(rules.SERVER, status(500), repeatable=False)
    assert may_repeat(rules.RATE_LIMITED, status(429), repeatable=False)
    assert may_repeat(rules.UNREACHABLE, ConnectError("x"), repeatable=False)
    assert may_repeat(rules.SILENT, UpstreamTimeoutError("x", phase="connect"), repeatable=False)
    assert not may_repeat(rules.SILENT, UpstreamTimeoutError("x", phase="idle"), repeatable=False)


def test_the_first_tries_may_be_quick_and_later_ones_not() -> None:
    assert [spaced(number, 0.1) for number in range(1, QUICK_TRIES)] == [0.1] * (QUICK_TRIES - 1)
    assert spaced(QUICK_TRIES, 0.1) == QUICK_WINDOW
    assert spaced(QUICK_TRIES + 5, 10.0) == 10.0
