"""When one target fails, the next: but only where the next can mend it."""

from __future__ import annotations

import pytest

from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    BrokenReplyError,
    ConnectError,
    ContentPolicyError,
    ContextLengthError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    UpstreamError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.model.call import Target
from ai_client.model.request import Endpoint
from ai_client.pipeline.fallback import Fallback
from ai_client.testing import FakeClock, reply
from tests.calls import make_call
from tests.running import Run
from tests.unit.pipeline.stages import Inside

TARGETS = [Target("a", "m", "m"), Target("b", "m", "m"), Target("c", "n", "n")]

MOVES_ON = [
    ConnectError("x"),
    BrokenReplyError("x"),
    UpstreamTimeoutError("x", phase="idle"),
    UpstreamStatusError("x", status=500),
    UpstreamStatusError("x", status=429),
    RateLimitedError("x"),
    OverloadedError("x"),
]
COMES_BACK = [
    InvalidRequestError("x"),
    AuthenticationError("x"),
    ContentPolicyError("x"),
    UpstreamStatusError("x", status=501),
]


def tried(inside: Inside) -> list[str]:
    return [attempt.target.provider for attempt in inside.attempts]


def test_the_first_that_answers_is_enough(run: Run) -> None:
    inside = Inside(reply(b"1"))
    assert run(Fallback(inside, 6, FakeClock())(make_call(), TARGETS)).body == b"1"
    assert tried(inside) == ["a"]
    assert inside.attempts[0].number == 1


@pytest.mark.parametrize("error", MOVES_ON, ids=repr)
def test_what_another_target_can_mend_moves_on(run: Run, error: AIClientError) -> None:
    inside = Inside(error, error, reply(b"3"))
    assert run(Fallback(inside, 6, FakeClock())(make_call(), TARGETS)).body == b"3"
    assert tried(inside) == ["a", "b", "c"]


@pytest.mark.parametrize("error", COMES_BACK, ids=repr)
def test_what_no_target_can_mend_comes_back_at_once(run: Run, error: AIClientError) -> None:
    inside = Inside(error)
    with pytest.raises(type(error)) as caught:
        run(Fallback(inside, 6, FakeClock())(make_call(), TARGETS))
    assert caught.value is error
    assert tried(inside) == ["a"]


def test_when_all_fail_the_first_error_is_the_one(run: Run) -> None:
    errors = [UpstreamStatusError(name, status=500) for name in "abc"]
    with pytest.raises(UpstreamStatusError, match="a"):
        run(Fallback(Inside(*errors), 6, FakeClock())(make_call(), TARGETS))


def test_a_request_at_fault_elsewhere_says_what_came_first(run: Run) -> None:
    """The fallback model may not know a field that the first one knows: that is not what the caller has to mend."""
    second = InvalidRequestError("b does not know this field")
    with pytest.raises(ConnectError) as caught:
        run(Fallback(Inside(ConnectError("a is down"), second), 6, FakeClock())(make_call(), TARGETS))
    assert caught.value.__cause__ is second


def test_the_attempts_are_bounded_over_all_targets(run: Run) -> None:
    inside = Inside(ConnectError("x"))
    with pytest.raises(ConnectError):
        run(Fallback(inside, 2, FakeClock())(make_call(), TARGETS))
    assert tried(inside) == ["a", "b"]


@pytest.mark.parametrize(
    ("method", "error", "targets"),
    [
        ("POST", BrokenReplyError("x"), ["a"]),
        ("POST", UpstreamTimeoutError("x", phase="first_byte"), ["a"]),
        ("POST", UpstreamStatusError("x", status=503), ["a"]),
        ("POST", ConnectError("x"), ["a", "b", "c"]),
        ("POST", UpstreamTimeoutError("x", phase="connect"), ["a", "b", "c"]),
        ("POST", RateLimitedError("x"), ["a", "b", "c"]),
        ("POST", UpstreamStatusError("x", status=429), ["a", "b", "c"]),
        ("GET", BrokenReplyError("x"), ["a", "b", "c"]),
    ],
)
def test_what_was_sent_and_is_not_ours_to_repeat_is_not(
    run: Run, method: str, error: UpstreamError, targets: list[str]
) -> None:
    inside = Inside(error)
    call = make_call(endpoint=Endpoint.OTHER, path="/files", method=method)
    with pytest.raises(type(error)):
        run(Fallback(inside, 6, FakeClock())(call, TARGETS))
    assert tried(inside) == targets


def test_nothing_is_begun_after_the_deadline(run: Run) -> None:
    clock = FakeClock()
    call = make_call(deadline_ns=clock.monotonic_ns())
    inside = Inside(ConnectError("a is down"))
    with pytest.raises(ConnectError):
        run(Fallback(inside, 6, clock)(call, TARGETS))
    assert tried(inside) == ["a"]


def test_a_prompt_that_does_not_fit_skips_the_same_model_elsewhere(run: Run) -> None:
    inside = Inside(ContextLengthError("too long"), reply(b"n"))
    assert run(Fallback(inside, 6, FakeClock())(make_call(), TARGETS)).body == b"n"
    assert tried(inside) == ["a", "c"]


def test_a_larger_model_comes_before_the_fallback(run: Run) -> None:
    big = Target("big", "m-long", "m-long")
    inside = Inside(ContextLengthError("too long"), reply(b"long"))
    stage = Fallback(inside, 6, FakeClock(), {"m": (big,)}.__getitem__)
    assert run(stage(make_call(), TARGETS)).body == b"long"
    assert tried(inside) == ["a", "big"]


def test_what_the_larger_model_says_is_what_comes_back(run: Run) -> None:
    larger = {"m": (Target("big", "l", "l"),), "l": (Target("a", "m", "m"),), "n": ()}
    inside = Inside(ContextLengthError("m"), ContextLengthError("l"), UpstreamStatusError("n is down", status=500))
    with pytest.raises(UpstreamStatusError, match="n is down"):
        run(Fallback(inside, 6, FakeClock(), larger.__getitem__)(make_call(), TARGETS))
    assert tried(inside) == ["a", "big", "c"], "and never back to what was too small"


def test_where_nothing_is_larger_the_caller_hears_so(run: Run) -> None:
    with pytest.raises(ContextLengthError):
        run(Fallback(Inside(ContextLengthError("too long")), 6, FakeClock())(make_call(), TARGETS[:2]))
