"""What several of these tests need."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def plain_user() -> Iterator[None]:
    """Root may do anything: as somebody else for as long as the test lasts."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65_534)
    yield
    if root:
        os.seteuid(0)
