"""Which streams are held until they are whole."""

from __future__ import annotations

import pytest

from ai_client.model.call import Target
from ai_client.providers.commit import AS_IT_COMES, Commit
from tests.calls import TARGET, streaming

OTHER_MODEL = Target("p", "other", "other")


@pytest.mark.parametrize(
    ("commit", "asked", "target", "most"),
    [
        (AS_IT_COMES, None, TARGET, 0),
        (AS_IT_COMES, True, TARGET, 16 * 1024 * 1024),
        (Commit(whole=True, bound=9), None, TARGET, 9),
        (Commit(whole=True, bound=9), False, TARGET, 0),
        (Commit(models=frozenset({"m"}), bound=9), None, TARGET, 9),
        (Commit(models=frozenset({"m"}), bound=9), None, OTHER_MODEL, 0),
        (Commit(models=frozenset({"m"}), bound=9), False, TARGET, 0),
        (Commit(models=frozenset({"m"}), bound=9), True, OTHER_MODEL, 9),
    ],
)
def test_the_call_decides_before_the_model_and_that_before_all(
    commit: Commit, asked: bool | None, target: Target, most: int
) -> None:
    assert commit.most(streaming(whole=asked), target) == most
