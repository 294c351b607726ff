"""The sixteen published faults: those that take seconds for real, the judge with answers made for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from faults.scenarios import SCENARIOS, Scenario, Seen
from faults.scorecard import OURS, cells, passed, run, table
from faults.systems import PUBLISHED
from faults.wire import PREFILL_REFUSED, answer_text

MINUTES = {"S06", "S07", "S09", "S15"}
NAME = "a"
WHOLE, MODEL = answer_text(NAME), "spare"


def scenario(number: str) -> Scenario:
    """The one."""
    return next(one for one in SCENARIOS if one.number == number)


def test_ours_passes_what_takes_no_minutes(tmp_path: Path) -> None:
    quick = [one for one in SCENARIOS if one.number not in MINUTES]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(tmp_path, OURS, quick))
    assert passed(found), found
    plain = {number for number, (verdict, _) in found["ai-client"].items() if verdict != "pass"}
    assert plain == {"S08", "S10", "S11", "S14"}  # shown already: an error is all that is honest


@pytest.mark.parametrize(
    ("number", "seen", "verdict"),
    [
        ("S01", Seen(WHOLE, True, primary=[0.0, 2.1]), "pass"),
        ("S01", Seen(WHOLE, True, primary=[0.0, 0.5]), "partial"),
        ("S01", Seen(WHOLE, True, primary=[0.0], spare=[0.1]), "partial"),
        ("S01", Seen(WHOLE, True, primary=[0.0, 0.1, 0.2]), "fail"),
        ("S02", Seen(error="no", primary=[0.0, 5.0, 10.0]), "safe"),
        ("S02", Seen(error="no", primary=[*range(0, 28, 4)]), "fail"),
        ("S03", Seen(hung=True), "fail"),
        ("S06", Seen(WHOLE, True, seconds=101, primary=[0.0]), "fail"),
        ("S06", Seen(WHOLE, True, seconds=90, primary=[0.0, 30.0]), "partial"),
        ("S08", Seen("The answer", True), "fail"),
        ("S08", Seen("Another", True), "fail"),
        ("S08", Seen("The answer", error="cut"), "safe"),
        ("S10", Seen(WHOLE, True, alive=False), "fail"),
        ("S11", Seen(WHOLE, True), "partial"),
        ("S12", Seen(WHOLE, True, primary=[0.0, 1.0]), "fail"),
        ("S13", Seen(WHOLE, True, primary=[0.0]), "partial"),
        ("S13", Seen(error="no", primary=[0.0]), "pass"),
        ("S14", Seen("The", error=PREFILL_REFUSED), "fail"),
        ("S15", Seen(WHOLE, True, primary=[0.0, 64.0]), "pass"),
        ("S15", Seen(WHOLE, True, primary=[0.0, 56.0]), "fail"),
        ("S15", Seen(error="no", primary=[0.0, 64.0]), "fail"),
        ("S16", Seen(WHOLE, True, model="a-s16", usage=True), "fail"),
        ("S16", Seen(WHOLE, True, model=MODEL, usage=True), "pass"),
    ],
)
def test_the_judge(number: str, seen: Seen, verdict: str) -> None:
    assert scenario(number).judge(NAME, seen)[0] == verdict


def test_there_are_sixteen_and_each_is_asked_of_each_system() -> None:
    assert [one.number for one in SCENARIOS] == [f"S{number:02}" for number in range(1, 17)]
    assert len(cells(["a", "b"], SCENARIOS)) == 2 * 16 + 1
    assert all(sum(counts) == 16 for counts in PUBLISHED.values())


def test_it_passes_only_where_ours_does() -> None:
    good, bad = {"S01": ("pass", "")}, {"S01": ("fail", "hang")}
    safe = {"S01": ("safe", "no")}
    whole, plain = "ai-client, commit = whole", "ai-client"
    assert passed({whole: good, plain: safe, "another": bad})
    assert not passed({whole: safe, plain: good})
    assert not passed({whole: good, plain: bad})
    assert not passed({plain: good})


def test_the_table_has_ours_and_the_published() -> None:
    text = table({"ai-client": {one.number: ("pass", "") for one in SCENARIOS}}, SCENARIOS)
    assert "| S08 stream cut | pass |" in text
    assert "| ai-client | 16 | 0 | 0 | 0 | measured here |" in text
    assert "| Bifrost 2.1.1 | 9 | 3 | 3 | 1 | published |" in text
