"""Which limits an attempt falls under."""

from __future__ import annotations

import msgspec
import pytest

from ai_client.limits import scopes
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Limiter, Settings
from ai_client.limits.scopes import VALUE_OF, Scope
from ai_client.model.call import Attempt
from ai_client.testing import FakeClock
from tests.calls import PROMPT, make_attempt, make_call, make_record
from tests.quotas import limits


def make(name: str, settings: Settings) -> Limiter:
    return MemoryLimiter(name, settings, FakeClock())


def asked(user: str = "alice") -> Attempt:
    fields = msgspec.structs.replace(PROMPT, user=user)
    return make_attempt(make_call(fields=fields, record=make_record(tag="blue")))


@pytest.mark.parametrize(
    ("scope", "value"), [("user", "alice"), ("tag", "blue"), ("app", "app"), ("model", "m"), ("provider", "p")]
)
def test_every_scope_has_its_value(scope: str, value: str) -> None:
    assert VALUE_OF[scope](asked()) == value
    named = Scope("n", scope, (value, "other"), limits(requests=1), make)
    assert named.find(asked()) is named.by_value[value]
    assert Scope("n", scope, ("other",), limits(requests=1), make).find(asked()) is None


def test_whatever_comes_along_has_its_own() -> None:
    each = Scope("n", "user", ("*",), limits(requests=1), make)
    alice = each.find(asked())
    assert alice is not None
    assert each.find(asked("bob")) is not alice
    assert each.find(asked()) is alice
    assert each.find(asked("")) is None, "who does not say who it is for is not limited by whom it is for"


def test_of_too_many_the_one_not_seen_for_longest_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "_MOST_VALUES", 2)
    each = Scope("n", "user", ("*",), limits(requests=1), make)
    alice = each.find(asked())
    each.find(asked("bob"))
    each.find(asked())
    each.find(asked("carol"))
    assert list(each.by_value) == ["alice", "carol"]
    assert each.find(asked()) is alice


def test_a_users_name_takes_no_more_room_than_it_needs() -> None:
    each = Scope("n", "user", ("*",), limits(requests=1), make)
    assert each.find(asked("x" * 1_000_000)) is each.find(asked("x" * 1_000_000))
    assert each.find(asked("x" * 1_000_001)) is not each.find(asked("x" * 1_000_000))
    assert {len(name) for name in each.by_value} == {64}
