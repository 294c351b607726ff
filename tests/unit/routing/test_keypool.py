"""Whose turn it is among several keys, and which of them are out."""

from __future__ import annotations

import random
from collections import Counter

from ai_client.model.call import Target
from ai_client.routing.keypool import BARRED, KeyPool, Member, Refusals
from ai_client.testing import FakeClock

ASKED = Target("p", "m", "up")


def pool(*weights: int, sticky: int = 0) -> KeyPool:
    members = [Member(f"k{at}", weight, f"https://{at}", {"m": "up"}) for at, weight in enumerate(weights)]
    return KeyPool(members, random.Random(1), sticky)


def turns(ring: KeyPool, count: int, **standing: int) -> str:
    """The keys' numbers in the order in which they were chosen."""
    chosen = [ring.choose(ASKED, lambda target: standing.get(target.member, 0)) for _ in range(count)]
    return "".join(seat.member.name[1:] for seat in chosen if seat is not None)


def test_turns_follow_the_weights_and_are_spread() -> None:
    order = turns(pool(5, 1, 1), 70)
    assert Counter(order) == {"0": 50, "1": 10, "2": 10}
    assert "00000" not in order


def test_nodes_begin_at_different_keys() -> None:
    first = {
        turns(KeyPool([Member(f"k{at}", 1, "u", {"m": "m"}) for at in range(4)], random.Random(seed), 0), 1)
        for seed in range(40)
    }
    assert first == {"0", "1", "2", "3"}


def test_one_that_is_short_is_passed_over_and_the_others_take_its_turns() -> None:
    assert Counter(turns(pool(1, 1, 1), 60, k1=7)) == {"0": 30, "2": 30}


def test_where_all_are_short_the_one_that_waits_least_is_chosen() -> None:
    assert turns(pool(1, 9, 1), 3, k0=5, k1=9, k2=4) == "222"


def test_a_barred_one_comes_last_and_is_no_second_choice() -> None:
    ring = pool(1, 1)
    assert turns(ring, 2, k0=BARRED + 1, k1=10**12) == "11"
    assert turns(ring, 2, k0=BARRED + 1, k1=BARRED + 2) == "00"
    assert ring.choose(ASKED, lambda _: BARRED + 1, tried=("p.k0/m",)) is None
    seat = ring.choose(ASKED, lambda _: 5, tried=("p.k0/m",))
    assert seat is not None
    assert seat.target.name == "p.k1/m"
    assert ring.choose(ASKED, lambda _: 0, tried=("p.k0/m", "p.k1/m")) is None
    assert ring.choose(ASKED, lambda _: 0, tried=("p.k0/m",), places=("https://1",)) is None


def test_who_serves_a_model_and_under_which_name() -> None:
    ring = KeyPool(
        [
            Member("", 1, "a", {"m": "m-eu"}),
            Member("b", 1, "a", {"n": "n"}),
            Member("c", 1, "a", {"n": "n9"}, open_=True),
        ],
        random.Random(1),
    )
    assert [seat.target for seat in ring.seats(ASKED)] == [
        Target("p", "m", "m-eu"),
        Target("p", "m", "up", "c"),
    ]
    assert [seat.target.key for seat in ring.seats(Target("p", "n", "n"))] == ["p.b", "p.c"]
    assert [seat.target.name for seat in ring.seats(Target("p", "", ""))] == ["p", "p.b", "p.c"]
    for at in range(1100):  # whatever names callers think of, memory is bounded
        assert len(ring.seats(Target("p", f"x{at}", f"x{at}"))) == 1
    assert len(ring._seats) == 1000


def test_one_prefix_goes_to_one_key_and_only_the_calls_of_a_lost_key_move() -> None:
    ring = pool(3, 1, 1)
    prefixes = [f"system prompt {at}".encode() for at in range(1000)]

    def owners(out: str = "") -> list[str]:
        found = [
            ring.choose(ASKED, lambda target: BARRED if target.member == out else 0, prefix) for prefix in prefixes
        ]
        return [seat.member.name for seat in found if seat is not None]

    before, after = owners(), owners("k1")
    assert before == owners()
    assert 560 <= before.count("k0") <= 640  # three fifths, within what 1,000 draws allow
    assert all(was == now for was, now in zip(before, after, strict=True) if was != "k1")
    assert "k1" not in after


def test_a_refused_key_is_out_for_longer_each_time() -> None:
    clock = FakeClock()
    heard: list[tuple[str, int, float]] = []
    out = Refusals(clock, lambda *what: heard.append(what))
    target = Target("p", "m", "m", "eu")
    assert out.left_ns(target) == 0
    out.refused(target.key, 401)
    clock.advance(10)
    out.refused(target.key, 401)  # one that was under way meanwhile
    assert out.left_ns(target) == 50 * 10**9
    assert out.left_ns(Target("p", "m", "m")) == 0
    assert out.states() == {"p.eu": 50.0}
    clock.advance(50)
    assert out.left_ns(target) == 0
    for seconds in (120.0, 240.0, 480.0, 960.0, 1920.0, 3600.0, 3600.0):
        out.refused(target.key, 401)
        assert out.left_ns(target) == seconds * 1e9
        clock.advance(seconds)
    out.accepted(target)
    assert (heard[0], heard[-1]) == (("p.eu", 401, 60.0), ("p.eu", 200, 0.0))
    assert len(heard) == 9
    assert out.until == {}


def test_a_model_may_be_refused_alone_and_a_reload_tries_all_anew() -> None:
    out = Refusals(FakeClock(), lambda *_: None)
    out.refused("p.eu/m", 403)
    assert out.left_ns(Target("p", "m", "m", "eu")) > 0
    assert out.left_ns(Target("p", "n", "n", "eu")) == 0
    out.accepted(Target("p", "n", "n", "eu"))
    assert out.left_ns(Target("p", "m", "m", "eu")) > 0
    out.forget()
    assert out.states() == {}
