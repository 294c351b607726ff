"""A call, its targets and attempts."""

from __future__ import annotations

import pytest

from ai_client.model.call import Target
from ai_client.model.request import Endpoint
from tests.calls import make_call


@pytest.mark.parametrize(
    ("endpoint", "method", "repeatable"),
    [
        (Endpoint.CHAT, "POST", True),
        (Endpoint.EMBEDDINGS, "POST", True),
        (Endpoint.OTHER, "GET", True),
        (Endpoint.OTHER, "HEAD", True),
        (Endpoint.OTHER, "POST", False),
        (Endpoint.OTHER, "DELETE", False),
    ],
)
def test_what_may_be_sent_twice(endpoint: Endpoint, method: str, repeatable: bool) -> None:
    assert make_call(endpoint=endpoint, method=method).repeatable is repeatable


def test_a_target_has_a_name() -> None:
    assert Target("p", "m", "upstream-m").name == "p/m"
    assert Target("p", "", "").name == "p"
