"""The type of the fixture `run`, for the tests that ask for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """Runs a coroutine to its end on an event loop of its own, and returns its result."""

    def __call__(self, coroutine: Coroutine[Any, Any, T], /) -> T: ...
