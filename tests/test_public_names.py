"""The public names: what a program may import, and what it costs to do so."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ai_client
from ai_client import errors

NAMES = {
    *("AIClient", "AsyncAIClient", "get_client", "get_async_client"),
    *("CostOptimizer", "QueryComplexity", "calculate_cost"),
    *("AIClientError", "ConfigurationError", "RequestError", "InvalidRequestError", "UnknownModelError"),
    *("AuthenticationError", "PermissionDeniedError", "NotFoundError", "MethodNotAllowedError"),
    *("RequestTooLargeError", "ContextLengthError", "ContentPolicyError", "RateLimitedError", "OverloadedError"),
    *("DeadlineExceededError", "UpstreamError", "ConnectError", "UpstreamTimeoutError", "BrokenReplyError"),
    *("BudgetExceededError", "CircuitOpenError"),
    *("UpstreamStatusError", "__version__"),
}


def test_the_names_are_these() -> None:
    assert set(ai_client.__all__) == NAMES
    assert ai_client.__all__ == sorted(ai_client.__all__)
    assert dir(ai_client) == ai_client.__all__


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_is_there(name: str) -> None:
    assert getattr(ai_client, name) is not None


def test_every_error_is_public() -> None:
    drawn = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert drawn <= NAMES
    assert all(getattr(ai_client, name) is getattr(errors, name) for name in drawn)


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'ai_client' has no attribute 'Client'"):
        _ = ai_client.Client


def test_importing_the_package_imports_nothing_else() -> None:
    script = "import sys, ai_client; print(*(name for name in sys.modules if name.startswith('ai_client')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"ai_client", "ai_client._version"}
