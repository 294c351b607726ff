"""What providers' headers say of their limits, and what is better not believed."""

from __future__ import annotations

import pytest

from ai_client.limits.base import Kind
from ai_client.limits.word import Said, read, span
from ai_client.simulator.quota import Quota

NOW = 1_700_000_000 * 10**9


def headers(**fields: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]


def test_what_the_simulator_says_is_understood() -> None:
    quota = Quota(500, 100_000, NOW)
    assert quota.admit(40, NOW) is None
    assert read(quota.headers(NOW), NOW) == (Said(Kind.REQUESTS, 500, 499), Said(Kind.TOKENS, 100_000, 99_960))


def test_anthropic_s_are_understood_and_the_sum_is_left_out_where_both_are_told() -> None:
    said = headers(
        anthropic_ratelimit_requests_limit="1000",
        anthropic_ratelimit_requests_remaining="999",
        anthropic_ratelimit_requests_reset="2023-11-14T22:13:21Z",
        anthropic_ratelimit_tokens_limit="90000",
        anthropic_ratelimit_input_tokens_limit="80000",
        anthropic_ratelimit_output_tokens_limit="16000",
        anthropic_ratelimit_output_tokens_remaining="15000",
    )
    assert read(said, NOW) == (
        Said(Kind.REQUESTS, 1000, 999),
        Said(Kind.INPUT_TOKENS, 80_000, -1),
        Said(Kind.OUTPUT_TOKENS, 16_000, 15_000),
    )


@pytest.mark.parametrize("reset", ["7m12s", "1h", "1d2h", "2023-11-15T22:13:20Z", "432", "1700000100", "1700000100000"])
def test_a_limit_by_the_day_is_no_limit_by_the_minute(reset: str) -> None:
    said = {"x_ratelimit_limit_requests": "200", "x_ratelimit_remaining_requests": "199"}
    assert read(headers(**said, x_ratelimit_reset_requests=reset), NOW) == ()
    assert read(headers(**said, x_ratelimit_reset_requests="59.9s"), NOW) == (Said(Kind.REQUESTS, 200, 199),)


@pytest.mark.parametrize("value", ["", "many", "-1", "0", "1e3", "9" * 40, "4.5", "٣"])
def test_garbage_is_not_said(value: str) -> None:
    assert read(headers(x_ratelimit_limit_requests=value), NOW) == ()
    left = headers(x_ratelimit_limit_tokens="100", x_ratelimit_remaining_tokens=value)
    assert read(left, NOW) == (Said(Kind.TOKENS, 100, 0 if value == "0" else -1),)


def test_said_twice_the_smaller_counts_and_other_names_do_not() -> None:
    twice = headers(x_ratelimit_limit_tokens="100.0") + headers(x_ratelimit_limit_tokens=" 90 ")
    assert read([*twice, (b"x-ratelimit-limit", b"5"), (b"x-ratelimit-limit-images", b"5")], NOW) == (
        Said(Kind.TOKENS, 90, -1),
    )


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("7.5", 7.5),
        ("1700000010", 10.0),
        ("1700000010000", 10.0),
        ("1600000000", 0.0),
        ("2023-11-14T22:13:30Z", 10.0),
        ("2020-01-01T00:00:00+01:00", 0.0),
        ("2023-11-14T22:13:30", None),
        ("0001-01-01T00:00:00+23:59", 0.0),
        ("soon", None),
        ("", None),
        ("-3s", None),
    ],
)
def test_resets_in_all_their_shapes(value: str, seconds: float | None) -> None:
    assert span(value.encode(), NOW) == (None if seconds is None else pytest.approx(seconds))


def test_bytes_that_are_no_text_are_no_date() -> None:
    assert span(b"\xff", NOW) is None
