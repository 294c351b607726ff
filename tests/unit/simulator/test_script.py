"""The player: frames at their times, and every way to end."""

from __future__ import annotations

from typing import Any

import pytest

from ai_client.simulator.script import Ending, Player, Script
from tests.unit.simulator.stage import HandClock, Page

MS = 1_000_000


class Show:
    """One script, played."""

    def __init__(self, **fields: Any) -> None:
        self.clock = HandClock()
        self.page = Page(self.clock)
        self.done = 0
        script = Script(200, [(b"x-a", b"b")], **fields)
        Player(script, self.page, self.clock, self.clock.later, self._done).play()

    def _done(self) -> None:
        self.done += 1


def test_a_stream_comes_piece_by_piece_when_due() -> None:
    show = Show(frames=[b"a", b"b", b"c"], due_ns=[40 * MS, 40 * MS, 90 * MS], stream=True)
    assert show.page.acts == []
    show.clock.advance(1)
    assert show.page.acts == [(0.04, "start", b""), (0.04, "write", b"ab"), (0.09, "write", b"c"), (0.09, "end", b"")]
    assert show.page.headers == {b"x-a": b"b"}
    assert (show.done, show.clock.waiting) == (1, 0)


def test_a_whole_answer_waits_and_is_sent_once() -> None:
    show = Show(frames=[b"body"], due_ns=[40 * MS])
    assert show.done == 0
    show.clock.advance(1)
    assert show.page.acts == [(0.04, "send", b"body")]
    assert show.done == 1


def test_what_is_due_within_half_a_millisecond_is_due_now() -> None:
    show = Show(frames=[b"a", b"b"], due_ns=[0, 400_000], stream=True)
    assert show.page.verbs == ["start", "write", "end"]


def test_a_late_timer_sends_all_that_is_due_and_does_not_shift_the_rest() -> None:
    show = Show(frames=[b"a", b"b", b"c"], due_ns=[0, 10 * MS, 50 * MS], stream=True)
    show.clock.now_ns += 30 * MS  # the loop was busy
    show.clock.advance(1)
    assert show.page.acts[-2] == (0.05, "write", b"c")


@pytest.mark.parametrize("ending", list(Ending))
def test_raw_bytes_and_every_ending(ending: Ending) -> None:
    show = Show(frames=[b"HTTP"], due_ns=[0], raw=True, ending=ending)
    show.clock.advance(0)
    expected = {
        Ending.CLEAN: ["raw", "close_raw"],
        Ending.FIN: ["raw", "close_raw"],
        Ending.RESET: ["raw"],
        Ending.HANG: ["raw"],
    }
    assert show.page.verbs == expected[ending]
    show.clock.advance(1)
    assert show.page.verbs == ["raw", "abort"] if ending is Ending.RESET else expected[ending]
    assert show.done == (0 if ending is Ending.HANG else 1)
    show.page.disconnected()
    assert show.done == 1


def test_a_reset_before_anything_is_immediate() -> None:
    show = Show(frames=[], due_ns=[], raw=True, ending=Ending.RESET)
    assert show.page.verbs == ["abort"]
    assert show.done == 1


def test_silence_ends_when_the_client_gives_up() -> None:
    show = Show(frames=[], due_ns=[], raw=True, ending=Ending.HANG)
    show.clock.advance(1_000)
    assert (show.page.verbs, show.done) == ([], 0)
    show.page.disconnected()
    assert show.done == 1


def test_a_client_that_goes_away_ends_the_play() -> None:
    show = Show(frames=[b"a", b"b"], due_ns=[0, 50 * MS], stream=True)
    show.page.disconnected()
    show.clock.advance(1)
    assert show.page.verbs == ["start", "write"]
    assert show.done == 1


def test_only_sound_whole_answers_due_at_once_are_immediate() -> None:
    assert Script(200, [], [b""], [0]).immediate
    assert not Script(200, [], [b""], [1]).immediate
    assert not Script(200, [], [b""], [0], stream=True).immediate
    assert not Script(200, [], [b""], [0], raw=True).immediate
    assert not Script(200, [], [], [], ending=Ending.HANG).immediate
