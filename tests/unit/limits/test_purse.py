"""What the fleet lent, and one's own share of it."""

from __future__ import annotations

import pytest

from ai_client.limits.base import MINUTE_NS, Kind, rate
from ai_client.limits.lease import WHOLE
from ai_client.limits.purse import Purse

SECOND = 1_000_000_000
TEN_A_SECOND = rate(Kind.REQUESTS, 600, MINUTE_NS, 1.0)


@pytest.fixture
def purse() -> Purse:
    return Purse(TEN_A_SECOND, 0)


def test_it_begins_empty_and_waits_for_the_store(purse: Purse) -> None:
    assert not purse.try_take(1, 0)
    assert purse.wait_ns(1, 0) == -1
    assert purse.wait_behind_ns(1, 4, 0) == SECOND // 2
    assert purse.available(0) == 0


def test_what_was_lent_is_spent_until_its_lease_ends_oldest_first(purse: Purse) -> None:
    purse.lend(5, 2 * SECOND, WHOLE)
    purse.lend(5, 3 * SECOND, WHOLE)
    assert purse.try_take(3, 0)
    assert purse.wait_ns(7, 0) == 0
    assert purse.available(2 * SECOND) == 5, "three of the older five were spent, two ended with their lease"
    assert not purse.try_take(6, 2 * SECOND)
    assert purse.try_take(5, 3 * SECOND - 1)
    purse.lend(0, 9 * SECOND, WHOLE)
    purse.lend(4, 4 * SECOND, WHOLE)
    assert purse.wait_ns(4, 4 * SECOND) == -1


def test_who_shares_with_others_has_to_expect_longer_waits(purse: Purse) -> None:
    purse.lend(0, SECOND, 4 * WHOLE)
    assert purse.wait_behind_ns(5, 0, 0) == 2 * SECOND
    assert purse.cost_ns(5) == SECOND // 2
    assert purse.part_ns(5) == 2 * SECOND
    purse.go_alone(WHOLE // 4, 0)
    assert purse.part_ns(5) == 0, "there is nobody to share with"


def test_the_youngest_goes_back_and_debt_is_owed(purse: Purse) -> None:
    purse.lend(5, 2 * SECOND, WHOLE)
    purse.lend(5, 3 * SECOND, WHOLE)
    assert purse.part_with(6) == 6
    assert purse.available(2 * SECOND - 1) == 4
    assert purse.available(2 * SECOND) == 0
    purse.take(7)
    assert purse.available(2 * SECOND) == -7
    assert purse.part_with(100) == -7
    assert purse.part_with(100) == 0


def test_what_comes_back_is_in_hand_again(purse: Purse) -> None:
    purse.take(-3)
    assert purse.available(SECOND) == 3
    purse.lend(5, 2 * SECOND, WHOLE)
    purse.take(2)
    purse.take(-1)
    assert purse.available(SECOND) == 7


def test_alone_it_spends_its_share_and_no_more(purse: Purse) -> None:
    purse.go_alone(WHOLE // 10, 0)
    assert purse.wait_ns(1, 0) == SECOND
    assert purse.wait_behind_ns(1, 1, 0) == 2 * SECOND
    assert not purse.try_take(1, SECOND - 1)
    assert purse.try_take(1, SECOND)
    assert purse.shared == 1
    purse.take(1)
    purse.take(-1)
    assert purse.shared == 1
    assert purse.available(2 * SECOND) == 1


def test_alone_what_is_in_hand_goes_first(purse: Purse) -> None:
    purse.lend(2, 9 * SECOND, WHOLE)
    purse.go_alone(WHOLE, 0)
    purse.take(1)
    assert purse.try_take(1, SECOND)
    assert purse.shared == 0
    assert purse.try_take(1, SECOND)
    assert purse.shared == 1


def test_what_the_provider_says_is_left_lowers_what_is_in_hand_and_is_told_on(purse: Purse) -> None:
    purse.lend(5, 2 * SECOND, WHOLE)
    purse.lower(3, 0)
    assert (purse.available(0), purse.most) == (3, 3)
    purse.lower(9, 0)
    assert (purse.available(0), purse.most) == (3, 3)
    purse.go_alone(WHOLE, 3 * SECOND)
    assert purse.available(4 * SECOND) == 10
    purse.lower(2, 4 * SECOND)
    assert purse.available(4 * SECOND) == 2, "of its share as well"
