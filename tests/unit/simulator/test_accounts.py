"""Keys: who may call, and what is kept for each."""

from __future__ import annotations

import pytest

from ai_client.errors import AuthenticationError
from ai_client.simulator import accounts
from ai_client.simulator.accounts import Accounts


def test_any_key_is_accepted_when_none_is_named() -> None:
    found = Accounts((), 0, 0)
    first = found.open(b"Bearer one", 0)
    assert found.open(b"bearer  one ", 0) is first
    assert found.open(b"Bearer two", 0) is not first
    assert [account.shown_key for account in found] == ["one", "two"]


def test_named_keys_are_the_only_ones() -> None:
    found = Accounts(("hs_one",), 0, 0)
    found.open(b"Bearer hs_one", 0)
    with pytest.raises(AuthenticationError, match="not one that this provider knows") as caught:
        found.open(b"Bearer hs_two", 0)
    assert "hs_two" not in caught.value.message


@pytest.mark.parametrize("header", [None, b"", b"Bearer", b"Bearer ", b"Basic one", b"one"])
def test_no_key_is_said_so(header: bytes | None) -> None:
    found = Accounts((), 0, 0)
    found.open(b"Bearer one", 0)
    with pytest.raises(AuthenticationError, match="no API key was sent"):
        found.open(header, 0)


def test_each_key_has_a_quota_of_its_own_until_all_is_cleared() -> None:
    found = Accounts((), 1, 0)
    assert found.open(b"Bearer one", 0).quota.admit(1, 0) is None
    assert found.open(b"Bearer one", 0).quota.admit(1, 0) is not None
    assert found.open(b"Bearer two", 0).quota.admit(1, 0) is None
    found.clear()
    assert found.open(b"Bearer one", 0).quota.admit(1, 0) is None


def test_a_long_key_is_shown_in_part() -> None:
    found = Accounts((), 0, 0)
    assert found.open(b"Bearer hs_0123456789abcdef", 0).shown_key == "hs_012…cdef"
    assert found.open(b"Bearer \xff\xfe", 0).shown_key == "\ufffd\ufffd"


def test_very_many_keys_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MOST_ACCOUNTS", 2)
    found = Accounts((), 0, 0)
    for name in (b"one", b"two", b"three"):
        found.open(b"Bearer " + name, 0)
    assert [account.shown_key for account in found] == ["two", "three"]
