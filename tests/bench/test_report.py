"""Verdicts: what meets its bounds, what misses them, and what makes the run fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import (
    MET_AIM,
    MET_MUST,
    MISSED,
    Detail,
    Findings,
    Row,
    failed,
    judge,
    machine,
    markdown,
    skipped,
    table,
    write_json,
)


@pytest.mark.parametrize(
    ("value", "verdict"), [(2.5, MET_AIM), (2.51, MET_MUST), (4.0, MET_MUST), (4.01, MISSED), (0.0, MET_AIM)]
)
def test_what_is_to_stay_below(value: float, verdict: str) -> None:
    assert judge(value, 4.0, 2.5) == verdict


@pytest.mark.parametrize(("value", "verdict"), [(400, MET_AIM), (399, MET_MUST), (200, MET_MUST), (199.9, MISSED)])
def test_what_is_to_stay_above(value: float, verdict: str) -> None:
    assert judge(value, 200, 400, at_least=True) == verdict


def test_without_an_aim_the_must_is_all() -> None:
    assert judge(0.1, 0.5, None) == MET_MUST
    assert judge(0.6, 0.5, None) == MISSED


def test_errors_spoil_the_best_figure() -> None:
    assert judge(1.0, 4.0, 2.5, errors=3) == "MISSED: 3 errors"


def test_only_a_missed_must_fails_the_run() -> None:
    sound = [Row("a", "1", "", "", MET_AIM), Row("b", "2", "", "", MET_MUST), skipped("c", "no wrk")]
    assert not Findings(sound).missed
    findings = Findings(sound)
    findings.add(Findings([failed("d", "first\nit broke\n")], [Detail("p", "w", "f")], {"raw": 1}))
    assert findings.missed
    assert findings.rows[-1].measured == "failed: it broke"
    assert findings.raw == {"raw": 1}
    spoilt = Findings([Row("e", "1", "", "", judge(1.0, 4.0, None, errors=1))])
    assert spoilt.missed


def test_a_reason_without_words_is_a_reason() -> None:
    assert skipped("a", "").measured == "not measured: no reason given"


def test_a_cell_cannot_break_its_table() -> None:
    assert table(("a", "b"), [("1|2", "3\n4")]) == "| a | b |\n| --- | --- |\n| 1/2 | 3 4 |"


def test_both_reports_tell_the_same(tmp_path: Path) -> None:
    findings = Findings([Row("speed", "2.00x", "4x", "", MET_MUST, 2.0)], [Detail("part", "who", "found")], {"p": [1]})
    text = markdown(findings, {"when": "now"})
    assert "| speed | 2.00x | 4x |  | must met |" in text
    assert "| part | who | found |" in text
    assert "- when: now" in text
    path = tmp_path / "new" / "latest.json"
    write_json(path, findings, {"when": "now"})
    written = json.loads(path.read_text())
    assert written["rows"][0]["value"] == 2.0
    assert written["raw"] == {"p": [1]}
    assert written["about"] == {"when": "now"}


def test_the_machine_is_named() -> None:
    assert set(machine()) == {"when", "machine", "Python"}
