"""Providers' words: they clamp and teach, lower and never raise, for the key or for each model."""

from __future__ import annotations

from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Kind, Settings
from ai_client.limits.gate import Gate
from ai_client.limits.heed import KEPT_NS, Change, Heed
from ai_client.model.call import Target
from ai_client.testing import FakeClock
from tests.quotas import left, limits

SECOND = 1_000_000_000


def said(rpm: int = 0, remaining: int = -1, tpm: int = 0) -> list[tuple[bytes, bytes]]:
    found = [(b"content-type", b"application/json")]
    if rpm:
        found.append((b"x-ratelimit-limit-requests", b"%d" % rpm))
    if remaining >= 0:
        found.append((b"x-ratelimit-remaining-requests", b"%d" % remaining))
    if tpm:
        found.append((b"x-ratelimit-limit-tokens", b"%d" % tpm))
    return found


class House:
    """A provider `p`, what is configured for it, and who listens."""

    def __init__(self, configured: Settings | None = None) -> None:
        self.clock = FakeClock()
        self.configured = MemoryLimiter("p", configured or Settings(), self.clock)
        self.changes: list[tuple[str, str, int, int]] = []
        self.made: list[str] = []
        self.heed = Heed(self.clock, {"p": self.configured}, self._make, self._changed)

    def _make(self, name: str, settings: Settings) -> Gate:
        self.made.append(name)
        return MemoryLimiter(name, settings, self.clock)

    def _changed(self, change: Change) -> None:
        self.changes.append((change.name, change.kind.name.lower(), change.told, change.configured))

    def hear(
        self, headers: list[tuple[bytes, bytes]], model: str = "m", *, after: float = 1.0, took: float = 0.0
    ) -> None:
        self.clock.advance(after)
        self.heed.hear(target(model), headers, self.clock.monotonic_ns() - int(took * SECOND))

    def rates(self, model: str = "m") -> dict[str, int]:
        gate = self.heed.find(target(model))
        return {} if gate is None else {each.name: each.amount for each in gate.settings.rates}


def target(model: str) -> Target:
    return Target("p", model, model)


def test_a_limit_that_is_not_configured_is_learned() -> None:
    house = House()
    house.hear(said(500, tpm=100_000))
    assert house.rates() == house.rates("never heard of") == {"requests": 500, "tokens": 100_000}
    assert house.changes == [("p", "requests", 500, 0), ("p", "tokens", 100_000, 0)]
    assert [name for name, _ in house.heed] == ["told:p"]
    assert house.made == ["told:p:requests+tokens"]
    house.hear(said(5), "")
    assert house.rates("") == {"requests": 500, "tokens": 100_000}, "what passes through names no model"


def test_one_configured_above_it_is_clamped_and_one_below_stays_as_it_is() -> None:
    house = House(limits(requests=1000, tokens=50_000))
    house.hear(said(500, tpm=100_000))
    assert house.rates() == {"requests": 500}
    assert house.changes == [("p", "requests", 500, 1000)]
    assert house.heed.state()["p/m"]["clamped"] == ["requests"]
    house.hear(said(1000, tpm=100_000))
    assert house.rates() == {}
    assert house.changes[1:] == [("p", "requests", 0, 1000)]


def test_it_follows_what_is_said_later_and_what_is_configured_later() -> None:
    house = House(limits(requests=1000))
    house.hear(said(500))
    gate = house.heed.find(target("m"))
    house.hear(said(600))
    assert house.rates() == {"requests": 600}
    assert house.heed.find(target("m")) is gate, "the same, with what was spent of it"
    house.configured.reconfigure(limits(requests=550))
    house.heed.refresh()
    assert house.rates() == {}


def test_what_is_left_lowers_and_never_raises() -> None:
    house = House(limits(requests=6000, burst_seconds=10))
    house.hear(said(6000, 400))
    assert left(house.configured) == (400, None)
    house.hear(said(6000, 5000), after=0.1)
    assert left(house.configured) == (410, None), "a hundred a second grow back, and no more"
    house.hear(said(6000, 0), after=0.1, took=0.05)
    assert left(house.configured) == (5, None), "what has grown back since it was sent is there"
    house.hear(said(remaining=3), after=0.1)
    assert left(house.configured) == (3, None), "without a limit beside it as well"


def test_it_looks_at_a_target_ten_times_a_second_at_most() -> None:
    house = House()
    house.hear(said(500))
    house.hear(said(100), after=0.09)
    assert house.rates() == {"requests": 500}
    house.hear(said(100), after=0.01)
    assert house.rates() == {"requests": 100}


def test_models_that_are_told_different_limits_have_their_own() -> None:
    house = House()
    house.hear(said(500), "a")
    house.hear(said(60), "b")
    assert (house.rates("a"), house.rates("b"), house.rates("c")) == ({"requests": 500}, {"requests": 60}, {})
    house.hear(said(500), "b")
    assert house.rates("c") == {"requests": 500}, "and share one when it is one again"


def test_models_of_one_limit_share_it_until_one_has_more_left_than_it_could() -> None:
    house = House(limits(requests=6000, burst_seconds=10))
    house.hear(said(600, 10), "a")
    house.hear(said(600, 60), "b", took=2.0)
    house.hear(said(600, 65), "b", after=0.2)
    assert house.rates("a") == house.rates("c") == {"requests": 600}, "it was sent before; it may have grown back"
    house.hear(said(600, 10), "a")
    house.hear(said(600, 590), "b", after=0.2)
    assert (house.rates("a"), house.rates("c")) == ({"requests": 600}, {})
    own = [house.heed.gates[name] for name in ("p/a", "p/b")]
    house.hear(said(600, 0), "a")
    assert [left(gate)[0] for gate in own] == [0, 10]
    assert (left(house.configured)[0] or 0) > 100, "what one model has left says nothing of the key"


def test_what_is_not_said_again_is_forgotten() -> None:
    house = House()
    house.hear(said(500))
    house.hear(said(), after=KEPT_NS / SECOND - 1)
    assert house.rates() == {"requests": 500}
    house.hear(said(), after=2)
    assert house.rates() == {}
    assert house.heed.state() == {}


def test_others_are_believed_when_they_heard_it_later() -> None:
    house = House()
    house.heed.learn("p", "m", {Kind.REQUESTS: 500}, 60 * SECOND)
    assert house.rates() == {"requests": 500}
    house.hear(said(400))
    house.heed.learn("p", "m", {Kind.REQUESTS: 500}, 60 * SECOND)
    assert house.rates() == {"requests": 400}


def test_names_that_callers_make_up_do_not_fill_the_memory() -> None:
    house = House()
    for at in range(1500):
        house.hear(said(500), f"m{at}", after=0)
    assert len(house.heed.words["p"]) <= 1000
    assert house.rates() == {"requests": 500}


def test_switched_off_nothing_of_it_stays() -> None:
    house = House()
    house.hear(said(500))
    house.heed.forget()
    assert (house.rates(), house.heed.state()) == ({}, {})
    house.hear(said(500), after=0)
    assert house.rates() == {"requests": 500}


def test_a_provider_that_is_no_longer_configured_has_no_limit_to_add_to() -> None:
    house = House()
    heed = Heed(house.clock, {}, house._make, house._changed)
    heed.hear(target("m"), said(500, 3), house.clock.monotonic_ns())
    assert heed.gates["p"].available() == {"requests": 3}
