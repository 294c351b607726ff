"""An error status of OpenAI's dialect, as one of our errors."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

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
from ai_client.providers.openai.answers import ErrorBody, ErrorFields

_body = msgspec.json.Decoder(ErrorBody)

_CONTEXT_CODES = frozenset({"context_length_exceeded", "string_above_max_length", "context_window_exceeded"})
_POLICY_CODES = frozenset({"content_filter", "content_policy_violation", "responsible_ai_policy_violation"})
_BY_STATUS: Mapping[int, type[AIClientError]] = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    413: RequestTooLargeError,
    422: InvalidRequestError,
}


def refusal(where: str, status: int, body: bytes, retry_after: float | None, key: str) -> AIClientError:
    """The error that `status` and `body` mean. `key` is blotted out should the provider have repeated it."""
    if key:
        body = body.replace(key.encode("latin-1"), b"***")
    said = _read(body)
    message = said.message or (body[:300].decode("utf-8", "replace").strip() if body else "no reason given")
    if key:  # once more: the body may have spelled it with escapes
        message = message.replace(key, "***")
    code = str(said.code) if said.code is not None else ""
    text = f"{where} answered {status}: {message}"
    lowered = message.lower()
    if code in _CONTEXT_CODES or (status == 400 and "maximum context length" in lowered):
        return ContextLengthError(text, param=said.param)
    if code in _POLICY_CODES:
        return ContentPolicyError(text, param=said.param)
    if code == "model_not_found":
        return UnknownModelError(text, param=said.param)
    kind = _BY_STATUS.get(status)
    if kind is not None:
        error = kind(text, param=said.param)
        if code:
            error.code = code
        return error
    return UpstreamStatusError(text, status=status, body=body, code=code or said.type, retry_after=retry_after)


def _read(body: bytes) -> ErrorFields:
    try:
        parsed = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorFields()
    if isinstance(parsed.error, ErrorFields):
        return parsed.error
    return ErrorFields(message=parsed.error or parsed.message)


def stream_error(where: str, said: ErrorFields | str) -> UpstreamStatusError:
    """The error that a stream carried in an event of its own."""
    fields = said if isinstance(said, ErrorFields) else ErrorFields(message=said)
    code = str(fields.code) if fields.code is not None else fields.type
    return UpstreamStatusError(
        f"{where} broke its stream off with an error: {fields.message or code or 'no reason given'}",
        status=502,
        code=code,
    )
