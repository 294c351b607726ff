"""What came of a cell, held against the rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from faults.faces import BATCH_SECONDS, TOTAL_SECONDS, Outcome
from faults.matrix import FACES, FAULTS, Cell
from faults.server import PRIMARY, SPARE
from faults.wire import PREFILL_REFUSED, REASON, answer_text

WINDOW_SECONDS: Final = 3.0
MOST_TRIES: Final = 4
RESCUED: Final = "rescued"
CLEAN: Final = "clean error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`result` is `rescued`, `clean error`, or what is wrong."""

    cell: Cell
    outcome: Outcome
    tries: Mapping[str, int]
    result: str

    @property
    def passed(self) -> bool:
        """It is what the rule asks for."""
        return self.result in (RESCUED, CLEAN)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        cell = self.cell
        where = {"fault": cell.fault.name, "where": cell.where, "stream": cell.stream, "face": cell.face}
        where["mode"] = cell.mode
        seen = {"tries": dict(self.tries), "outcome": asdict(self.outcome)}
        return {"cell": cell.name, **where, "result": self.result, "passed": self.passed, **seen}


def judge(cell: Cell, outcome: Outcome, tries: Mapping[str, Sequence[float]]) -> Verdict:
    """`tries` are the times of the tries at each target, in seconds."""
    counted = {target: len(times) for target, times in tries.items()}
    return Verdict(cell, outcome, counted, _result(cell, outcome, tries))


def _result(cell: Cell, outcome: Outcome, tries: Mapping[str, Sequence[float]]) -> str:
    patience = BATCH_SECONDS if cell.face == "batch" else TOTAL_SECONDS + 1
    if outcome.hung or outcome.seconds > patience:
        return "HANG"
    if outcome.answers != 1:
        return f"{outcome.answers} ANSWERS"
    if cell.fault.blame == "network" and not tries[PRIMARY]:
        return "NO TRY SEEN"
    for target, times in tries.items():
        if (most := most_within(times, WINDOW_SECONDS)) > MOST_TRIES:
            return f"HAMMERED {target}: {most} in {WINDOW_SECONDS:g} s"
    return _answered(cell, outcome) if outcome.whole else _failed(cell, outcome, tries)


def _answered(cell: Cell, outcome: Outcome) -> str:
    right = answer_text(cell.name)
    if outcome.text == right:
        return RESCUED
    return "TRUNCATED SUCCESS" if right.startswith(outcome.text) else "WRONG ANSWER"


def _failed(cell: Cell, outcome: Outcome, tries: Mapping[str, Sequence[float]]) -> str:
    if not answer_text(cell.name).startswith(outcome.text):
        return "WRONG ANSWER"
    if not outcome.error:
        return "ERROR WITHOUT A WORD"
    if cell.rescue_due:
        return f"NOT RESCUED ({outcome.status})"
    return _clean(cell, outcome, tries)


def _clean(cell: Cell, outcome: Outcome, tries: Mapping[str, Sequence[float]]) -> str:
    fault = cell.fault
    begun = cell.stream and bool(outcome.text)  # then the status was sent before
    if cell.face != "batch" and not begun and outcome.status not in fault.statuses:
        return f"WRONG STATUS {outcome.status}"
    if fault.reason and REASON not in outcome.error:
        return "REASON LOST"
    if PREFILL_REFUSED in outcome.error:
        return "ANOTHER ERROR THAN THE REAL ONE"
    if cell.mode == "refused" and not fault.ended and not tries[SPARE]:
        return "NOT TAKEN UP"
    if fault.blame == "caller" and sum(len(times) for times in tries.values()) > 1:
        return "TRIED AGAIN IN VAIN"
    return CLEAN


def most_within(times: Sequence[float], window: float) -> int:
    """The most of `times` that lie within any stretch so long."""
    return max((sum(1 for time in times if begin <= time < begin + window) for begin in times), default=0)


def table(verdicts: Iterable[Verdict]) -> str:
    """A line for each fault, a column for each face: how many cells were rescued, and how many ended in a clean error.
    Then each cell that is not as it should be.
    """
    found = list(verdicts)
    lines = ["rescued + clean errors", "", f"{'fault':<22}" + "".join(f"{face:<16}" for face in FACES)]
    for fault in FAULTS:
        columns: list[str] = []
        for face in FACES:
            mine = [one for one in found if one.cell.fault is fault and one.cell.face == face]
            rescued = sum(one.result == RESCUED for one in mine)
            clean = sum(one.result == CLEAN for one in mine)
            wrong = len(mine) - rescued - clean
            columns.append((f"{rescued} + {clean}" + (f", {wrong} WRONG" if wrong else "")) if mine else "–")
        if set(columns) != {"–"}:
            lines.append(f"{fault.name:<22}" + "".join(f"{column:<16}" for column in columns))
    lines.append("")
    lines += [_line(one) for one in found if not one.passed]
    passed = [one for one in found if one.passed]
    rescued = sum(one.result == RESCUED for one in passed)
    ends = f"{rescued} rescued, {len(passed) - rescued} clean errors"
    lines.append(f"{len(passed)} of {len(found)} cells as they should be: {ends}")
    return "\n".join(lines)


def _line(one: Verdict) -> str:
    cell = one.cell
    kind = ("stream" if cell.mode == "plain" else f"stream, {cell.mode}") if cell.stream else "whole"
    where = f"{cell.fault.name}, {cell.where}, {kind}, {cell.face}"
    return f"{one.result}: {where}; tries {dict(one.tries)}; {one.outcome.error[:90]!r}"
