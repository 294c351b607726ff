"""Every error that leaves this package, drawn once.

    AIClientError
    ├ ConfigurationError          the configuration does not validate; carries every problem found
    ├ RequestError                the caller's request is at fault; never retried
    │ ├ InvalidRequestError       400  malformed JSON, wrong type, empty messages
    │ │ └ UnknownModelError       404  the model is not one this client knows; suggests the nearest
    │ ├ AuthenticationError       401  the caller's token, or the provider's key, is missing, malformed or refused
    │ ├ PermissionDeniedError     403  the caller is known but may not do this
    │ ├ NotFoundError             404  no such route or object
    │ ├ MethodNotAllowedError     405  the route exists, the method does not
    │ ├ RequestTooLargeError      413  body beyond the limit
    │ ├ ContextLengthError        400  the prompt does not fit the model's context
    │ └ ContentPolicyError        400  the provider refused the content
    ├ RateLimitedError            429  quota is short and the wait would outlast the deadline        (retryable)
    │ └ BudgetExceededError       429  the day's budget is spent; `retry_after` leads to the next day
    ├ OverloadedError             503  this client sheds load                                        (retryable)
    │ └ CircuitOpenError          503  the target failed too often and is left alone for a while     (retryable)
    ├ DeadlineExceededError       504  the caller's own time is up
    └ UpstreamError               502  the provider failed                                           (retryable)
      ├ ConnectError              502  no connection: DNS, TCP, TLS, proxy; nothing was sent         (retryable)
      ├ UpstreamTimeoutError      504  connect, first byte, first token, idle or total time ran out  (retryable)
      ├ BrokenReplyError          502  cut off, malformed, empty, or not what was promised           (retryable)
      └ UpstreamStatusError       …    the provider answered with an error status; carries it        (by status)

`status` is what the daemon answers; `code` and `type` are the fields of OpenAI's error object; `retryable` says whether
another attempt may help. A vendor's own exception never leaves `providers/`.
"""

from __future__ import annotations

from collections.abc import Sequence


class AIClientError(Exception):
    """The root: catch this to catch all that this package raises on purpose."""

    status: int = 500
    type: str = "api_error"
    code: str | None = None
    retryable: bool = False

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        """`message` says what happened, where, and what to do; `param` names the field at fault;
        `retry_after` is in seconds, None when unknown.
        """
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class ConfigurationError(AIClientError):
    """The configuration was refused whole. `problems` holds one line for each mistake, in file order."""

    type = "configuration_error"
    code = "invalid_configuration"

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{count} configuration mistake{'s' if count != 1 else ''}:"
        super().__init__("\n".join((head, *(f"  {problem}" for problem in self.problems))))


class RequestError(AIClientError):
    """The request itself is at fault: sending it again cannot help."""

    status = 400
    type = "invalid_request_error"


class InvalidRequestError(RequestError):
    """Malformed JSON, a wrong type, a missing or empty field."""

    code = "invalid_request"


class UnknownModelError(InvalidRequestError):
    """No provider serves this model name. The message carries the nearest known names."""

    status = 404
    code = "model_not_found"


class AuthenticationError(RequestError):
    """A token or key is missing, malformed or refused. The message never repeats it."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class PermissionDeniedError(RequestError):
    """The caller is known, but is not allowed this."""

    status = 403
    type = "permission_error"
    code = "permission_denied"


class NotFoundError(RequestError):
    """No such route or object."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The route exists but does not take this method."""

    status = 405
    code = "method_not_allowed"


class RequestTooLargeError(RequestError):
    """The body is larger than the limit, which the message states in bytes."""

    status = 413
    code = "request_too_large"


class ContextLengthError(RequestError):
    """The prompt does not fit this model's context window; a larger model might take it."""

    code = "context_length_exceeded"


class ContentPolicyError(RequestError):
    """The provider refused the content; the message carries its reason."""

    code = "content_policy_violation"


class RateLimitedError(AIClientError):
    """Quota is short. `retry_after` is a true estimate in seconds."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    retryable = True


class BudgetExceededError(RateLimitedError):
    """The app's budget for the day, or the daemon's, does not suffice. `retry_after` leads to the next day."""

    type = "insufficient_quota"
    code = "budget_exceeded"
    retryable = False


class OverloadedError(AIClientError):
    """This client has more work than it admits; low priority is shed first."""

    status = 503
    type = "overloaded_error"
    code = "overloaded"
    retryable = True


class CircuitOpenError(OverloadedError):
    """The target failed too often lately and is left alone; nothing was sent. `retry_after` is when it is tried."""

    code = "circuit_open"


class DeadlineExceededError(AIClientError):
    """The caller's own deadline passed: no attempt can help any more."""

    status = 504
    type = "timeout_error"
    code = "deadline_exceeded"


class UpstreamError(AIClientError):
    """The provider failed. `sent` is False only when it is certain that nothing reached the provider.

    `came` counts the characters of an answer that had come when it broke off, and that nobody has seen.
    """

    status = 502
    type = "upstream_error"
    code = "upstream_error"
    retryable = True

    def __init__(
        self, message: str, *, param: str | None = None, retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)
        self.sent = sent
        self.came = 0


class ConnectError(UpstreamError):
    """No usable connection: name resolution, TCP, TLS or the proxy failed. Nothing was sent."""

    code = "connect_error"

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class UpstreamTimeoutError(UpstreamError):
    """The provider was silent too long. `phase` is `connect` (nothing was sent, and the code is `connect_timeout`),
    `first_byte`, `first_token`, `idle` or `total`.
    """

    status = 504
    type = "timeout_error"
    code = "upstream_timeout"

    def __init__(self, message: str, *, phase: str) -> None:
        super().__init__(message, sent=phase != "connect")
        self.phase = phase
        if phase == "connect":
            self.code = "connect_timeout"


class BrokenReplyError(UpstreamError):
    """The reply was cut off, malformed, empty, or not what its headers promised."""

    code = "broken_reply"


class UpstreamStatusError(UpstreamError):
    """The provider answered with an error status that no more specific class covers.

    `status` is the provider's; `body` is its answer, passed on to the caller as it came when it is JSON.
    """

    def __init__(
        self, message: str, *, status: int, body: bytes = b"", code: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.status = status
        self.body = body
        self.code = code or "upstream_error"
        self.retryable = status in RETRYABLE_STATUSES


RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
"""Statuses after which another attempt may help: RFC 9110 section 15, RFC 6585, RFC 8470, and the CDN codes in use."""
