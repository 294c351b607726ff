"""What was found: a row for each figure, the contestants' own numbers behind it, and both as Markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

MET_AIM, MET_MUST, MISSED, SKIPPED = "aim met", "must met", "MISSED", "skipped"


@dataclass(frozen=True)
class Row:
    """A figure with what it must be and is to be, in words, and the verdict."""

    what: str
    measured: str
    must: str
    aim: str
    verdict: str
    value: float | None = None


@dataclass(frozen=True)
class Detail:
    """What one contestant did in one part."""

    part: str
    who: str
    found: str


@dataclass
class Findings:
    """Of one part, or of all of them together; `raw` is for the JSON: every round of every contestant."""

    rows: list[Row] = field(default_factory=list)
    details: list[Detail] = field(default_factory=list)
    raw: dict[str, object] = field(default_factory=dict)

    def add(self, other: Findings) -> None:
        """Takes in another part's."""
        self.rows += other.rows
        self.details += other.details
        self.raw |= other.raw

    @property
    def missed(self) -> bool:
        """Whether a must was missed."""
        return any(row.verdict.startswith(MISSED) for row in self.rows)


def judge(value: float, must: float, aim: float | None, *, at_least: bool = False, errors: int = 0) -> str:
    """The verdict on `value`, which is to stay below its bounds, or above them; an error spoils any figure."""
    if errors:
        return f"{MISSED}: {errors} errors"
    sign = -1 if at_least else 1
    if sign * value > sign * must:
        return MISSED
    return MET_AIM if aim is not None and sign * value <= sign * aim else MET_MUST


def skipped(what: str, why: str) -> Row:
    """The row of a figure that could not be measured here."""
    return Row(what, f"not measured: {_last_line(why)}", "", "", SKIPPED)


def failed(what: str, why: str) -> Row:
    """The row of a figure that could not be measured because something broke: the last line of the reason."""
    return Row(what, f"failed: {_last_line(why)}", "", "", MISSED)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "no reason given"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(
        "| " + " | ".join(cell.replace("\n", " ").replace("|", "/") for cell in row) + " |" for row in rows
    )


def markdown(findings: Findings, about: Mapping[str, str]) -> str:
    """The whole report."""
    figures = table(
        ("what", "measured", "must", "aim", "verdict"),
        [(row.what, row.measured, row.must, row.aim, row.verdict) for row in findings.rows],
    )
    behind = table(("part", "who", "found"), [(each.part, each.who, each.found) for each in findings.details])
    notes = "\n".join(f"- {name}: {value}" for name, value in about.items())
    return f"# Figures\n\n{figures}\n\n## Side by side\n\n{behind}\n\n## About this run\n\n{notes}\n"


def write_json(path: Path, findings: Findings, about: Mapping[str, str]) -> None:
    """Everything, every round included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "about": dict(about),
        "rows": [asdict(row) for row in findings.rows],
        "details": [asdict(detail) for detail in findings.details],
        "raw": findings.raw,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cores = os.cpu_count() or 1
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "when": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{cores} cores, {model}, {platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
