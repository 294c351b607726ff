"""One hardened path from every server to every AI model.

    from ai_client import AsyncAIClient, AIClient          # the clients
    from ai_client import get_client, get_async_client     # the official openai SDK, on the same pipeline
    from ai_client import CostOptimizer, calculate_cost    # prices and the choice of a model

Names are loaded when they are first used, so that `import ai_client` costs next to nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ai_client._version import __version__

if TYPE_CHECKING:
    from ai_client.client import AsyncAIClient
    from ai_client.errors import (
        AIClientError,
        AuthenticationError,
        BrokenReplyError,
        BudgetExceededError,
        CircuitOpenError,
        ConfigurationError,
        ConnectError,
        ContentPolicyError,
        ContextLengthError,
        DeadlineExceededError,
        InvalidRequestError,
        MethodNotAllowedError,
        NotFoundError,
        OverloadedError,
        PermissionDeniedError,
        RateLimitedError,
        RequestError,
        RequestTooLargeError,
        UnknownModelError,
        UpstreamError,
        UpstreamStatusError,
        UpstreamTimeoutError,
    )
    from ai_client.openai_sdk import get_async_client, get_client
    from ai_client.optimizer import CostOptimizer, calculate_cost
    from ai_client.routing.complexity import QueryComplexity
    from ai_client.sync_client import AIClient

__all__ = [
    "AIClient",
    "AIClientError",
    "AsyncAIClient",
    "AuthenticationError",
    "BrokenReplyError",
    "BudgetExceededError",
    "CircuitOpenError",
    "ConfigurationError",
    "ConnectError",
    "ContentPolicyError",
    "ContextLengthError",
    "CostOptimizer",
    "DeadlineExceededError",
    "InvalidRequestError",
    "MethodNotAllowedError",
    "NotFoundError",
    "OverloadedError",
    "PermissionDeniedError",
    "QueryComplexity",
    "RateLimitedError",
    "RequestError",
    "RequestTooLargeError",
    "UnknownModelError",
    "UpstreamError",
    "UpstreamStatusError",
    "UpstreamTimeoutError",
    "__version__",
    "calculate_cost",
    "get_async_client",
    "get_client",
]

_HOMES: Mapping[str, str] = {
    "AIClient": "ai_client.sync_client",
    "AsyncAIClient": "ai_client.client",
    "CostOptimizer": "ai_client.optimizer",
    "QueryComplexity": "ai_client.routing.complexity",
    "calculate_cost": "ai_client.optimizer",
    "get_async_client": "ai_client.openai_sdk",
    "get_client": "ai_client.openai_sdk",
}
"""Where each public name lives; errors not listed here live in `ai_client.errors`."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ai_client' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "ai_client.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
