"""`make bench-quota`: plays every scene and prints what must be, what was, and whether that will do.

`--only NAME,NAME` chooses; QUOTA_SECONDS (300) shortens every scene, QUOTA_MEMBERS (50) makes the fleet smaller. Exits
with 1 when a must was missed. What cannot be measured here is skipped, with the reason.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from bench import report
from bench.peers import SkippedError
from bench.processes import NotReadyError
from bench.quota.rows import SCENES, asked_members, asked_seconds
from bench.quota.scene import BURST_SECONDS
from bench.report import Findings

_RESULTS = Path(__file__).parents[1] / "results" / "quota.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.quota", description="Measures how a fleet keeps one limit.")
    parser.add_argument("--only", default=",".join(SCENES), help=f"scenes, with commas: {', '.join(SCENES)}")
    parser.add_argument("--json", type=Path, default=_RESULTS, help="where the JSON goes")
    options = parser.parse_args()
    options.only = [name.strip() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in options.only if name not in SCENES]
    if unknown:
        parser.error(f"unknown scene: {', '.join(unknown)}; known: {', '.join(SCENES)}")
    return options


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _play(name: str) -> Findings:
    begun = time.monotonic()
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    try:
        found = SCENES[name]()
    except SkippedError as reason:
        found = Findings([report.skipped(name, str(reason))])
    except (NotReadyError, OSError, RuntimeError) as error:
        found = Findings([report.failed(name, f"{type(error).__name__}: {error}")])
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    return found


def main() -> int:
    """Play what was asked for; 1 when a must was missed."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    findings, begun = Findings(), time.monotonic()
    about = {
        **report.machine(),
        "members": f"{asked_members()}, each a process",
        "a scene": f"{asked_seconds():.0f} s",
        "judge": f"the simulator; a rested key may spend {BURST_SECONDS:g} s at once",
    }
    for name in options.only:
        findings.add(_play(name))
    about["all of it"] = f"{time.monotonic() - begun:.0f} s"
    rows = [(row.what, row.must, row.measured, row.verdict) for row in findings.rows]
    print(report.table(("what", "must", "measured", "verdict"), rows))
    print(
        "\n"
        + report.table(("scene", "behind it", "found"), [(one.part, one.who, one.found) for one in findings.details])
    )
    print("\n" + "\n".join(f"- {name}: {value}" for name, value in about.items()))
    report.write_json(options.json, findings, about)
    return int(findings.missed)


if __name__ == "__main__":
    sys.exit(main())
