"""An error status of OpenAI's dialect, as one of our errors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

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
_CODE: Final = re.compile(r"[\w.:*-]{1,64}", re.ASCII)
_BLOT: Final = "***"
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
    body = _blotted(body, key)
    said = _read(body)
    message = said.message or (body[:300].decode("utf-8", "replace").strip() if body else "no reason given")
    code = _word(said.code)
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
    return UpstreamStatusError(text, status=status, body=body, code=code or _word(said.type), retry_after=retry_after)


def _read(body: bytes) -> ErrorFields:
    try:
        parsed = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ErrorFields()
    if isinstance(parsed.error, ErrorFields):
        return parsed.error
    return ErrorFields(message=parsed.error or parsed.message)


def stream_error(where: str, said: ErrorFields | str, key: str) -> UpstreamStatusError:
    """The error that a stream carried in an event of its own; of `key` as in `refusal`."""
    fields = said if isinstance(said, ErrorFields) else ErrorFields(message=said)
    code = blot(_word(fields.code) or _word(fields.type), key)
    message = blot(fields.message or "", key) or code or "no reason given"
    return UpstreamStatusError(f"{where} broke its stream off with an error: {message}", status=502, code=code)


def _word(code: str | int | None) -> str:
    """A code as logs and metrics may have it: a word, nothing that somebody wrote. Else ""."""
    text = str(code) if code is not None else ""
    return text if _CODE.fullmatch(text) else ""


def blot(text: str, key: str) -> str:
    """A provider's words, without our key should it have repeated that."""
    return text.replace(key, _BLOT) if key else text


def _blotted(body: bytes, key: str) -> bytes:
    """The same for a body, in which JSON may spell a key with escapes: some servers write all slashes so."""
    if not key:
        return body
    body = body.replace(key.encode("latin-1"), _BLOT.encode())
    if b"\\" not in body:
        return body
    try:
        plain = msgspec.json.encode(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    spelled = msgspec.json.encode(key)[1:-1]
    return plain.replace(spelled, _BLOT.encode()) if spelled in plain else body
