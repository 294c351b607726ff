"""1,000 streams at once: pauses at the client, CPU and memory of the proxy between."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from bench import ours
from bench.contestant import Contestant
from bench.lab import Lab
from bench.nginx import start_proxy
from bench.processes import LOAD_CORE, Neighbours, pinned
from bench.report import Detail, Findings, Row, judge
from bench.streams import STALL_SECONDS, Gaps

STREAMS, RATE, DELAY = 1000, 20, 0.040
_PART = f"{STREAMS:,} streams at {RATE} tokens/s"


@dataclass(frozen=True)
class Streamed:
    """One run: what the client saw, what the proxy used of one core (percent) and of memory (MB) meanwhile."""

    gaps: Gaps
    cpu_percent: float
    idle_mb: float
    peak_mb: float

    @property
    def errors(self) -> int:
        """Streams that did not arrive whole."""
        return self.gaps.broken


def streams_and_memory(lab: Lab) -> Findings:
    """The rows of the streams and of memory: the daemon is fresh, so that its peak is that of the streams."""
    upstream = lab.upstream(DELAY)
    findings = Findings()
    neighbours = Neighbours(lab.processes)
    makers: list[Callable[[], Contestant]] = [lambda: upstream]
    if lab.nginx is not None:
        binary = lab.nginx
        makers.append(lambda: start_proxy(lab.processes, binary, "nginx-streams", upstream.port, streams=True))
    makers.append(lambda: lab.daemon(upstream))
    for make in makers:
        contestant = make()
        found = _run(lab, contestant)
        findings.details.append(Detail(_PART, contestant.name, _text(found)))
        findings.raw[f"streams {contestant.name}"] = asdict(found)
        if contestant.name == ours.NAME:
            findings.rows += _rows(found)
        lab.stop(contestant)
    findings.details.append(Detail(_PART, "others on this machine", f"{neighbours.cores():.2f} cores"))
    return findings


def _rows(found: Streamed) -> list[Row]:
    gaps = found.gaps
    stalls = gaps.stalls + gaps.broken
    return [
        Row(
            f"{_PART}: stalls (a pause above {STALL_SECONDS * 1e3:.0f} ms)",
            f"{gaps.stalls}, {gaps.broken} broken; pauses p99 {gaps.p99_ms:.0f} ms, longest {gaps.max_ms:.0f} ms",
            "none",
            "",
            judge(stalls, 0, None),
            stalls,
        ),
        Row(
            f"{_PART}: CPU of one core",
            f"{found.cpu_percent:.0f} %",
            "≤ 60 %",
            "≤ 30 %",
            judge(found.cpu_percent, 60, 30, errors=found.errors),
            found.cpu_percent,
        ),
        Row(
            "memory, idle", f"{found.idle_mb:.0f} MB", "≤ 60 MB", "≤ 40 MB", judge(found.idle_mb, 60, 40), found.idle_mb
        ),
        Row(
            f"memory, with {_PART}",
            f"{found.peak_mb:.0f} MB",
            "≤ 150 MB",
            "≤ 100 MB",
            judge(found.peak_mb, 150, 100, errors=found.errors),
            found.peak_mb,
        ),
    ]


def _run(lab: Lab, contestant: Contestant) -> Streamed:
    process = contestant.process
    idle = process.memory_mb() if process else 0.0
    steady = 6.0 if lab.quick else 15.0
    argv = [sys.executable, "-m", "bench.streams", "--port", str(contestant.port), "--streams", str(STREAMS)]
    argv += ["--rate", str(RATE), "--ramp", "5", "--steady", str(steady)]
    cpu, at = 0.0, 0.0
    result: Gaps | None = None
    with (lab.folder / "streams-client.log").open("ab") as log:
        client = subprocess.Popen(pinned(LOAD_CORE, argv), stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert client.stdout is not None
            for line in client.stdout:
                said = json.loads(line)
                match said.get("event"):
                    case "steady":
                        cpu, at = -contestant.cpu_seconds(), time.monotonic()
                    case "over":
                        cpu, at = cpu + contestant.cpu_seconds(), time.monotonic() - at
                    case _:
                        result = Gaps(**said)
        finally:
            client.kill()
            client.wait()
    if result is None:
        raise RuntimeError(f"the streams' client failed against {contestant.name}; see its log")
    return Streamed(result, 100 * cpu / at, idle, process.memory_mb(peak=True) if process else 0.0)


def _text(found: Streamed) -> str:
    gaps = found.gaps
    text = f"pauses p50 / p99 / longest {gaps.p50_ms:.0f} / {gaps.p99_ms:.0f} / {gaps.max_ms:.0f} ms, "
    text += f"first arrival p99 {gaps.first_ms:.1f} ms, {gaps.complete} complete, {gaps.broken} broken"
    if found.peak_mb:
        text += f"; {found.cpu_percent:.0f} % of one core, {found.idle_mb:.0f} MB idle, {found.peak_mb:.0f} MB at most"
    return text
