"""What may be tried again, where, and when: one table, asked by `retried` (the same target) and `fallback` (others).

A rule is chosen by what went wrong alone. Bounds that hold for every rule stand beside the table: the call's deadline
and budget of attempts, the target's retry budget, and `spaced`, which keeps one call from hammering one target.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from ai_client.errors import (
    AIClientError,
    BrokenReplyError,
    ConnectError,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    OverloadedError,
    RateLimitedError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)

QUICK_TRIES: Final = 4
"""Tries of one call at one target that may follow one another as quickly as their waits allow."""
QUICK_WINDOW: Final = 3.0
"""Seconds in which there may be no more than those."""

_AS_CONFIGURED: Final = 1000
_SPENT_CODES: Final = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class Onward(enum.Enum):
    """Where a call may go when it has failed at a target for good."""

    NOWHERE = "comes back at once"
    ANY = "next target"
    OTHER_MODEL = "a larger model, then targets of other models"


class Rule(msgspec.Struct, frozen=True):
    """One row. `again` bounds the further tries at the same target, `max_retries` bounds it too. `slow` tries begin no
    sooner than half of `retry_base_delay`. `acted` is False where the provider certainly did nothing: such a call may
    be repeated even if it is not ours to repeat.
    """

    name: str
    covers: str
    again: int
    onward: Onward
    why: str
    slow: bool = False
    acted: bool = True


RATE_LIMITED: Final = Rule(
    "rate limited",
    "status 429",
    _AS_CONFIGURED,
    Onward.ANY,
    "the provider says when there is room: Retry-After is waited for, and without it longer and longer",
    slow=True,
    acted=False,
)
QUOTA_SPENT: Final = Rule(
    "quota spent",
    "status 429 with the code " + ", ".join(f"`{code}`" for code in sorted(_SPENT_CODES)),
    0,
    Onward.ANY,
    "no wait brings money back; another account may have some",
    acted=False,
)
SERVER: Final = Rule(
    "server error",
    "status 408, 409, 425, 500, 502, 503, 504, 520, 522, 524, 529, or an error inside a stream before its commit",
    1,
    Onward.ANY,
    "often one bad process behind a balancer; when it is not, more tries only add load",
)
UNREACHABLE: Final = Rule(
    "unreachable",
    "no connection: name, TCP, TLS, proxy",
    1,
    Onward.ANY,
    "a restart takes a moment; nothing was sent",
    acted=False,
)
BROKEN: Final = Rule(
    "broken answer",
    "a reset, an answer cut off, malformed, empty or not what its headers promised; a stream's before its commit",
    1,
    Onward.ANY,
    "as a server error",
)
SILENT: Final = Rule(
    "silent",
    "no connection, first byte, first token or further piece in time",
    0,
    Onward.ANY,
    "who was silent for a whole time-out would cost another; there is time for one other target rather",
)
OWN_QUOTA: Final = Rule(
    "our own quota",
    "our limits for this target, or its connections, are used up; or its circuit is open",
    0,
    Onward.ANY,
    "it has waited as long as it could already",
    acted=False,
)
CONTEXT: Final = Rule(
    "context length",
    "the prompt does not fit the model, by the provider's code or words",
    0,
    Onward.OTHER_MODEL,
    "the same model says the same everywhere; `[routing] larger` names one that takes more",
)
POLICY: Final = Rule(
    "content policy",
    "the provider refused the content",
    0,
    Onward.NOWHERE,
    "the caller has to know the reason; asking around for one who answers is not ours",
)
REQUEST: Final = Rule(
    "request at fault",
    "status 400, 401, 403, 404, 413, 422; any other status that is not listed here",
    0,
    Onward.NOWHERE,
    "the request or the key has to be mended: sending it again cannot help",
)
DEADLINE: Final = Rule("out of time", "the call's own deadline passed", 0, Onward.NOWHERE, "nobody waits any more")

TABLE: Final = (
    RATE_LIMITED,
    QUOTA_SPENT,
    SERVER,
    BROKEN,
    UNREACHABLE,
    SILENT,
    OWN_QUOTA,
    CONTEXT,
    POLICY,
    REQUEST,
    DEADLINE,
)
"""All rules, for people and the reference page."""


def rule_for(error: AIClientError) -> Rule:
    """The rule for what went wrong."""
    if isinstance(error, UpstreamError):
        return _upstream_rule(error)
    if isinstance(error, RateLimitedError | OverloadedError):
        return OWN_QUOTA
    if isinstance(error, ContextLengthError):
        return CONTEXT
    if isinstance(error, ContentPolicyError):
        return POLICY
    # whatever else there is is about the request, or about us: no target can mend it
    return DEADLINE if isinstance(error, DeadlineExceededError) else REQUEST


def _upstream_rule(error: UpstreamError) -> Rule:
    if isinstance(error, UpstreamTimeoutError):
        return SILENT
    if isinstance(error, ConnectError):
        return UNREACHABLE
    if isinstance(error, BrokenReplyError):
        return BROKEN
    if not error.retryable:
        return REQUEST
    if isinstance(error, UpstreamStatusError) and error.status == 429:
        return QUOTA_SPENT if error.code in _SPENT_CODES else RATE_LIMITED
    return SERVER


def may_repeat(rule: Rule, error: AIClientError, *, repeatable: bool) -> bool:
    """May the call be sent once more, here or elsewhere? `repeatable` says whether sending it twice is harmless."""
    return repeatable or not rule.acted or (isinstance(error, UpstreamError) and not error.sent)


def spaced(number: int, wait: float) -> float:
    """The seconds to wait after try `number` (from 1), so that no `QUICK_WINDOW` holds more than `QUICK_TRIES`."""
    return wait if number < QUICK_TRIES else max(wait, QUICK_WINDOW)
