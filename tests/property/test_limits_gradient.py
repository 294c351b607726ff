"""Laws of a limit that adapts: whatever a target does, it stays within its bounds, and it comes back."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ai_client.limits.gradient import AdaptiveLimit, Pace

SECOND = 10**9
STEPS = st.lists(
    st.one_of(
        st.just(None),
        st.tuples(st.integers(1, 10**13), st.one_of(st.none(), st.integers(0, 10**6)), st.integers(0, 10**4)),
    ),
    max_size=60,
)


@st.composite
def paces(draw: st.DrawFn) -> Pace:
    least, first, most = sorted(draw(st.tuples(*[st.integers(1, 500)] * 3)))
    return Pace(least, most, first, draw(st.floats(1, 10)), draw(st.floats(0.1, 0.95)))


@settings(max_examples=25)
@given(paces(), STEPS)
def test_bounds_hold_and_it_comes_back(pace: Pace, steps: list[tuple[int, int | None, int] | None]) -> None:
    limit = AdaptiveLimit(pace)
    now = 1
    for step in steps:
        if step is None:
            limit.dropped(now, now + 1)
            now += 2
        else:
            took, tokens, among = step
            limit.answered(now, now + took, among, tokens)
            now += 1
        assert pace.least <= limit.places <= pace.most
    now += 10**14
    for _ in range(250):  # a target that answers evenly, whatever it did before, with all places taken
        for _ in range(max(4, min(limit.places, 100))):
            limit.answered(now + 1, now + SECOND, limit.places, None)
        now += SECOND
    assert limit.places == pace.most


@given(paces(), st.integers(1, 300))
def test_a_storm_cuts_once_and_no_further_than_it_may(pace: Pace, refused: int) -> None:
    limit = AdaptiveLimit(pace)
    for _ in range(refused):
        limit.dropped(1, 2)
    assert limit.places == int(max(pace.least, pace.first * pace.backoff))
