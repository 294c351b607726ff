"""What a fleet will see."""

from __future__ import annotations

import pytest

from ai_client.limits.plan import Question, plan


def test_more_demand_than_there_is() -> None:
    found = plan(Question(500, 100_000, 50, 1500, 200))
    assert (found.scarce, found.limit, found.answered, found.used, found.backlog) == ("requests", 500, 500, 1.0, 1000)
    assert (found.per_node, found.seconds_between, found.alone_per_node) == (10, 6, 10)
    assert found.most_in_a_minute == pytest.approx(525)
    assert found.store_questions == 50


def test_enough_for_all() -> None:
    found = plan(Question(0, 600_000, 10, 100, 1000))
    assert (found.scarce, found.limit, found.answered, found.backlog) == ("", 600, 100, 0)
    assert found.used == pytest.approx(1 / 6)


def test_tokens_are_short() -> None:
    assert plan(Question(500, 100_000, 50, 1500, 1000)).scarce == "tokens"


def test_thousands_of_nodes_ask_no_more_than_a_server_bears() -> None:
    assert plan(Question(10**7, 0, 5000, 10**7, 1)).store_questions == 10_000
