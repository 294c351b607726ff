"""What servers ask for, in every form that they ask it."""

from __future__ import annotations

import pytest

from ai_client.transport.retry_after import parse_retry_after

SECOND = 1_000_000_000
MOMENT = 784_111_777 * SECOND  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0.0),
        (b"7", 7.0),
        (b" 7 ", 7.0),
        (b"+7", 7.0),
        (b"1.5", 1.5),
        (b"1.", 1.0),
        (b"-3", 0.0),
        (b"Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        (b"Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        (b"Sun Nov  6 08:49:47 1994", 10.0),
        (b"Sun, 06 Nov 1994 09:49:47 +0100", 10.0),
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        (b"Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
    ],
)
def test_retry_after(value: bytes, seconds: float) -> None:
    assert parse_retry_after([(b"retry-after", value)], MOMENT) == seconds


def test_a_date_is_compared_to_the_fraction_of_a_second() -> None:
    headers = [(b"retry-after", b"Sun, 06 Nov 1994 08:49:38 GMT")]
    assert parse_retry_after(headers, MOMENT + SECOND // 4) == 0.75


GARBAGE = [b"", b"soon", b"nan", b"inf", b"1e3", b"0x10", b".5", b"1 2", b"9" * 400, b"\xff\xfe", b"\xb2"]
NO_DATES = [
    b"Sun, 99 Nov 1994 08:49:37 GMT",
    b"Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
    b"0001-01-01",
    b"1 Jan 1 00:00 +9999",
]


@pytest.mark.parametrize("value", GARBAGE + NO_DATES)
def test_garbage_says_nothing(value: bytes) -> None:
    assert parse_retry_after([(b"retry-after", value)], MOMENT) is None
    assert parse_retry_after([(b"retry-after-ms", value)], MOMENT) is None


def test_no_header_says_nothing() -> None:
    assert parse_retry_after([], MOMENT) is None
    assert parse_retry_after([(b"content-type", b"7")], MOMENT) is None


def test_milliseconds_go_first() -> None:
    headers = [(b"retry-after", b"7"), (b"retry-after-ms", b"250.5")]
    assert parse_retry_after(headers, MOMENT) == 0.2505


def test_what_is_not_understood_gives_way() -> None:
    assert parse_retry_after([(b"retry-after-ms", b"soon"), (b"retry-after", b"7")], MOMENT) == 7.0
    assert parse_retry_after([(b"retry-after", b"soon"), (b"retry-after", b"7")], MOMENT) == 7.0


def test_milliseconds_are_no_date() -> None:
    assert parse_retry_after([(b"retry-after-ms", b"Sun, 06 Nov 1994 08:49:47 GMT")], MOMENT) is None
