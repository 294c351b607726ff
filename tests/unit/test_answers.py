"""What callers are told of a call: headers, and errors as JSON."""

from __future__ import annotations

import msgspec
import pytest

from ai_client.answers import (
    TOLD,
    error_event,
    error_headers,
    error_json,
    nano,
    read_usage,
    told,
    told_whole,
    usd,
)
from ai_client.errors import AIClientError, ContextLengthError, OverloadedError, RateLimitedError, UpstreamStatusError
from ai_client.model.usage import Usage
from tests.calls import make_record


def test_headers_tell_what_happened() -> None:
    record = make_record(target="p/m", attempts=2, queue_ns=1_250_000, cost_nano=1_000_000_123)
    assert told(record) == [
        (b"x-request-id", b"r1"),
        (b"x-ai-client-target", b"p/m"),
        (b"x-ai-client-attempts", b"2"),
        (b"x-ai-client-queue-ms", b"1.2"),
    ]
    record.cache = "hit"
    assert told(record)[-1] == (b"x-ai-client-cache", b"hit")
    assert told_whole(record) == [*told(record), (b"x-ai-client-cost-usd", b"1.000000123")]
    record.unpriced = True
    assert told_whole(record) == told(record)


def test_all_that_is_ours_to_say_is_known_as_such() -> None:
    record = make_record(target="p/m", attempts=2, queue_position=1, hedge="won", cache="miss", commit="whole")
    record.usage = Usage(estimated=True)
    ours = {name for name, _ in told_whole(record)}
    assert ours == TOLD | {b"x-request-id"}


def test_a_count_that_is_ours_says_so() -> None:
    usage = Usage(7, 3, estimated=True)
    name, value = told_whole(make_record(usage=usage))[-1]
    assert (name, value) == (b"x-ai-client-usage", b"estimated;input=7;output=3")
    assert read_usage(value) == usage


@pytest.mark.parametrize("said", [b"", b"estimated", b"exact;input=7;output=3", b"estimated;input=7;output=x"])
def test_what_is_no_count_is_refused(said: bytes) -> None:
    with pytest.raises(ValueError, match="not"):
        read_usage(said)


def test_a_target_beyond_latin_1_is_told_as_well_as_it_can_be() -> None:
    assert dict(told(make_record(target="p/модель")))[b"x-ai-client-target"] == b"p/??????"


@pytest.mark.parametrize("amount", [0, 1, 999_999_999, 1_000_000_000, 123_456_789_012])
def test_money_is_written_exactly(amount: int) -> None:
    assert nano(usd(amount)) == amount


@pytest.mark.parametrize(
    ("text", "amount"), [(b"1", 1_000_000_000), (b"0.5", 500_000_000), (b"0.0000000019", 1), (b"2.", 2_000_000_000)]
)
def test_money_is_read_in_other_spellings_too(text: bytes, amount: int) -> None:
    assert nano(text) == amount


@pytest.mark.parametrize("text", [b"", b"x", b"1.x", b".", b"1,5"])
def test_what_is_no_money_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        nano(text)


def test_errors_say_when_to_come_back() -> None:
    assert error_headers(OverloadedError("busy")) == [(b"content-type", b"application/json")]
    headers = dict(error_headers(RateLimitedError("short", retry_after=1.2001), make_record(target="p/m")))
    assert headers[b"retry-after"] == b"2"
    assert headers[b"retry-after-ms"] == b"1201"
    assert headers[b"x-ai-client-target"] == b"p/m"
    soon = dict(error_headers(RateLimitedError("short", retry_after=0.0)))
    assert (soon[b"retry-after"], soon[b"retry-after-ms"]) == (b"1", b"0")


def test_errors_are_of_openai_s_shape() -> None:
    body = error_json(ContextLengthError("too long", param="messages"))
    assert msgspec.json.decode(body) == {
        "error": {
            "message": "too long",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    }
    assert msgspec.json.decode(error_json(AIClientError("?")))["error"]["code"] == "api_error"


def test_an_error_in_the_middle_of_a_stream_is_an_event() -> None:
    error = OverloadedError("busy")
    assert error_event(error) == b"data: " + error_json(error) + b"\n\n"


@pytest.mark.parametrize(
    ("body", "passed_on"),
    [
        (b'{"error":{"message":"theirs"}}', True),
        (b'{"detail":"x"}', False),
        (b"<html>error</html>", False),
        (b"", False),
    ],
)
def test_a_provider_s_own_error_is_passed_on_where_it_is_of_the_usual_shape(body: bytes, passed_on: bool) -> None:
    error = UpstreamStatusError("p answered 500", status=500, body=body)
    assert (error_json(error) == body) is passed_on


def test_a_model_s_name_cannot_end_a_header_s_line() -> None:
    record = make_record()
    record.target = "open/gpt\r\nset-cookie: x"
    assert (b"x-ai-client-target", b"open/gpt??set-cookie: x") in told(record)
