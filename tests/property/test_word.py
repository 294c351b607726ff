"""Whatever a provider writes into its headers, it is understood or left out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ai_client.limits.word import read, span
from ai_client.simulator.quota import duration

NAMES = st.builds(
    lambda fact, kind: b"x-ratelimit-%s-%s" % (fact, kind),
    st.sampled_from([b"limit", b"remaining", b"reset"]),
    st.sampled_from([b"requests", b"tokens"]),
)
VALUES = st.binary(max_size=24) | st.from_regex(rb"[-0-9smhd.TZ: ]{0,24}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, VALUES)), st.integers(0, 2**62))
def test_no_header_breaks_it(headers: list[tuple[bytes, bytes]], unix_ns: int) -> None:
    for said in read(headers, unix_ns):
        assert said.limit >= 0
        assert said.remaining >= -1


@given(st.integers(0, 10**14))
def test_durations_are_read_as_they_are_written(ns: int) -> None:
    seconds = span(duration(ns), 0)
    assert seconds is not None
    assert ns / 1e9 <= seconds + 1e-6 <= ns / 1e9 + 0.002
