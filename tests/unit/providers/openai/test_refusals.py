"""Error statuses, as errors of our own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    ContentPolicyError,
    ContextLengthError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RequestTooLargeError,
    UnknownModelError,
    UpstreamStatusError,
)
from ai_client.providers.openai.answers import ErrorFields
from ai_client.providers.openai.refusals import refusal, stream_error

KEY = "hs_" + "0" * 20


def refused(status: int, body: bytes | dict[str, Any] = b"", retry_after: float | None = None) -> AIClientError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode({"error": body})
    return refusal("p", status, raw, retry_after, KEY)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (413, RequestTooLargeError),
        (422, InvalidRequestError),
        (302, UpstreamStatusError),
        (402, UpstreamStatusError),
        (409, UpstreamStatusError),
        (429, UpstreamStatusError),
        (500, UpstreamStatusError),
        (503, UpstreamStatusError),
        (599, UpstreamStatusError),
    ],
)
def test_by_status(status: int, kind: type[AIClientError]) -> None:
    error = refused(status, {"message": "no", "param": "model", "code": "why", "type": "t"})
    assert type(error) is kind
    assert (error.message, error.code) == (f"p answered {status}: no", "why")
    if kind is not UpstreamStatusError:
        assert error.param == "model"
    else:
        assert error.status == status


@pytest.mark.parametrize(
    ("status", "fields", "kind", "code"),
    [
        (400, {"code": "context_length_exceeded"}, ContextLengthError, "context_length_exceeded"),
        (413, {"code": "string_above_max_length"}, ContextLengthError, "context_length_exceeded"),
        (400, {"message": "This model's Maximum Context Length is 8"}, ContextLengthError, "context_length_exceeded"),
        (500, {"message": "maximum context length"}, UpstreamStatusError, "upstream_error"),
        (400, {"code": "content_filter"}, ContentPolicyError, "content_policy_violation"),
        (400, {"code": "content_policy_violation"}, ContentPolicyError, "content_policy_violation"),
        (404, {"code": "model_not_found"}, UnknownModelError, "model_not_found"),
        (400, {"code": "model_not_found"}, UnknownModelError, "model_not_found"),
        (400, {"code": None}, InvalidRequestError, "invalid_request"),
        (400, {"code": 1234}, InvalidRequestError, "1234"),
        (400, {"code": "what you asked, word for word"}, InvalidRequestError, "invalid_request"),
        (429, {"code": "x" * 65, "type": "t"}, UpstreamStatusError, "t"),
        (429, {"code": None, "type": "insufficient_quota"}, UpstreamStatusError, "insufficient_quota"),
        (429, {}, UpstreamStatusError, "upstream_error"),
    ],
)
def test_by_code(status: int, fields: dict[str, Any], kind: type[AIClientError], code: str) -> None:
    error = refused(status, {"message": "no", **fields})
    assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "no reason given"),
        (b"<html>busy</html>", "<html>busy</html>"),
        (b'{"error":"plain words"}', "plain words"),
        (b'{"message":"at the top"}', "at the top"),
        (b'{"error":null,"message":"at the top"}', "at the top"),
        (b'{"detail":"x"}', '{"detail":"x"}'),
        (b'{"error":{"message":{"odd":1}}}', '{"error":{"message":{"odd":1}}}'),
        (b'{"error":{"message":"\xff"}}', '{"error":{"message":"�"}}'),
        (b"x" * 1000, "x" * 300),
    ],
)
def test_the_reason_is_found_wherever_it_stands(body: bytes, said: str) -> None:
    assert refused(500, body).message == f"p answered 500: {said}"


def test_an_error_nested_without_end() -> None:
    assert refused(500, b'{"error":' * 100_000).message.startswith("p answered 500: {")


def test_the_provider_s_answer_and_its_wish_are_kept() -> None:
    error = refused(503, {"message": "busy"}, retry_after=2.5)
    assert isinstance(error, UpstreamStatusError)
    assert (error.body, error.retry_after, error.retryable) == (b'{"error":{"message":"busy"}}', 2.5, True)


@pytest.mark.parametrize("status", [400, 401, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"Incorrect key: KEY","param":"KEY","code":"KEY"}}',
        b"what about KEY?",
        b"{ neither JSON nor \\ without KEY",
        b"x" * 295 + b"KEY",
        b'{"error":{"message":"spelled \\u0068s_00000000000000000000"}}',
        b'{"error":{"message":"***","code":"\\u0068s_00000000000000000000","more":["\\u0068s_00000000000000000000"]}}',
    ],
)
def test_the_key_is_never_repeated(status: int, body: bytes) -> None:
    error = refused(status, body.replace(b"KEY", KEY.encode()))
    said = [error.message, error.param or "", error.code or ""]
    if isinstance(error, UpstreamStatusError):
        said.append(error.body.decode())
    assert not [text for text in said if KEY in text or "\\u0068" in text]
    if len(body) < 290:
        assert "***" in error.message
    assert "hs_0" not in error.message


def test_without_a_key_nothing_is_blotted_out() -> None:
    assert refusal("p", 500, b"plain", None, "").message == "p answered 500: plain"


@pytest.mark.parametrize(
    ("said", "message", "code"),
    [
        ("words", "words", "upstream_error"),
        (ErrorFields(message="busy", code="overloaded"), "busy", "overloaded"),
        (ErrorFields(message="busy", code=529, type="t"), "busy", "529"),
        (ErrorFields(type="server_error"), "server_error", "server_error"),
        (ErrorFields(), "no reason given", "upstream_error"),
        (ErrorFields(message=f"your key {KEY}", code=KEY), "your key ***", "***"),
        (ErrorFields(message="busy", code="a sentence, and not a code", type="t"), "busy", "t"),
    ],
)
def test_an_error_inside_a_stream(said: ErrorFields | str, message: str, code: str) -> None:
    error = stream_error("p", said, KEY)
    assert error.message == f"p broke its stream off with an error: {message}"
    assert (error.code, error.status, error.retryable) == (code, 502, True)
