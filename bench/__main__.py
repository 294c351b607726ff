"""`python -m bench`: every figure in one run, side by side, as Markdown on the terminal and JSON in a file.

Exits with 1 when a must was missed. Contestants take turns, so that what disturbs a shared machine meets them alike;
what is quoted are medians of the rounds, with the rounds' range behind them.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bench import peers, report
from bench.lab import Lab, find_tool
from bench.parts.closed import against_peers, cpu
from bench.parts.openloop import openloop
from bench.parts.start import start
from bench.parts.streams import streams_and_memory
from bench.peers import SkippedError
from bench.processes import Neighbours, NotReadyError, Processes, allow_many_files
from bench.report import Findings

_RESULTS = Path(__file__).parent / "results"
_QUIET_CORES = 0.1
_PARTS: dict[str, Callable[[Lab], Findings]] = {
    "cpu": cpu,
    "peers": against_peers,
    "openloop": openloop,
    "streams": streams_and_memory,
    "memory": streams_and_memory,
    "start": start,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measures every figure that the README quotes.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: to try, not to quote")
    parser.add_argument("--only", default=",".join(_PARTS), help=f"parts, with commas: {', '.join(_PARTS)}")
    parser.add_argument("--json", type=Path, default=_RESULTS / "latest.json", help="where the JSON goes")
    parser.add_argument("--no-peers", action="store_true", help="leave Portkey and LiteLLM out")
    options = parser.parse_args()
    options.only = [part.strip() for part in options.only.split(",") if part.strip()]
    unknown = [part for part in options.only if part not in _PARTS]
    if unknown:
        parser.error(f"unknown part: {', '.join(unknown)}; known: {', '.join(_PARTS)}")
    return options


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _versions(lab: Lab) -> dict[str, str]:
    found = dict(peers.versions()) if lab.peers else {}
    if lab.nginx is not None:
        said = subprocess.run([lab.nginx, "-v"], capture_output=True, text=True, check=False).stderr
        found["nginx"] = said.strip().removeprefix("nginx version: ")
    return found


def _measure(lab: Lab, parts: list[str]) -> Findings:
    findings = Findings()
    done: set[Callable[[Lab], Findings]] = set()
    for name in parts:
        part = _PARTS[name]
        if part in done or (name == "peers" and not lab.peers):
            continue
        done.add(part)
        begun = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            findings.add(part(lab))
        except SkippedError as reason:
            findings.rows.append(report.skipped(name, str(reason)))
        except (NotReadyError, RuntimeError) as reason:
            print(reason, file=sys.stderr)
            findings.rows.append(report.failed(name, str(reason)))
        finally:
            lab.processes.stop_all()  # a part leaves nothing behind for the next one
        print(f"  {time.monotonic() - begun:.0f} s", flush=True)
    return findings


def main() -> int:
    """Measures, prints, writes; the exit code."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    for name in [name for name in os.environ if name.startswith("AI_CLIENT_") or name == "HOLYSHEEP_API_KEY"]:
        del os.environ[name]  # the figures are those of the bench's configuration, not of this user's
    allow_many_files()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ai-client-bench-") as folder, Processes(Path(folder)) as processes:
        lab = Lab(
            processes,
            nginx=find_tool("nginx"),
            wrk=find_tool("wrk"),
            quick=options.quick,
            peers=not options.no_peers,
        )
        neighbours = Neighbours(processes)
        try:
            findings = _measure(lab, options.only)
        except KeyboardInterrupt:
            print("interrupted; everything that was started is being stopped", file=sys.stderr)
            return 130
        others = neighbours.cores()
    about = report.machine() | _versions(lab)
    about["how"] = "proxy on core 0; load and upstream on core 1; medians of rounds that take turns (lowest to highest)"
    noisy = "; NOT QUIET: repeat before quoting" if others > _QUIET_CORES else ""
    about["others on this machine"] = f"used {others:.2f} cores meanwhile{noisy}"
    about["took"] = f"{time.monotonic() - begun:.0f} s" + (" (--quick)" if options.quick else "")
    text = report.markdown(findings, about)
    print("\n" + text)
    report.write_json(options.json, findings, about)
    options.json.with_suffix(".md").write_text(text)
    print(f"written to {options.json} and {options.json.with_suffix('.md')}")
    return 1 if findings.missed else 0


if __name__ == "__main__":
    sys.exit(main())
