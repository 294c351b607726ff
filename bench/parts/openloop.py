"""Open loop: what a proxy adds to the latency of a steady 1,200 requests a second over 1,000 connections."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from bench.contestant import Contestant
from bench.lab import Lab
from bench.nginx import start_proxy
from bench.openloop import Latencies
from bench.processes import LOAD_CORE, Neighbours, pinned
from bench.report import Detail, Findings, Row, judge
from bench.statistics import Spread, spread

RATE, CONNECTIONS, DELAY = 1200, 1000, 0.040
_PART = f"open loop, {RATE:,} requests/s, {CONNECTIONS:,} connections, upstream {DELAY * 1e3:.0f} ms"
_WARM = 1.0
_NOISE_MS = 0.1
"""What two runs against the same thing differ by on a quiet machine: nginx is not credited with adding less."""


def openloop(lab: Lab) -> Findings:
    """p99 added by the daemon and by nginx: the difference to the upstream asked directly, in turn."""
    direct = lab.upstream(DELAY)
    floor = start_proxy(lab.processes, lab.nginx, "nginx-openloop", direct.port) if lab.nginx else None
    daemon = lab.daemon(direct)
    contestants = [each for each in (direct, floor, daemon) if each is not None]
    neighbours = Neighbours(lab.processes)
    rounds, seconds = (3, 3.0) if lab.quick else (9, 3.0)
    found: dict[str, list[Latencies]] = {each.name: [] for each in contestants}
    cpu = {each.name: -each.cpu_seconds() for each in contestants}
    for _ in range(rounds):
        for contestant in contestants:
            found[contestant.name].append(_run(contestant, seconds))
    for each in contestants:
        cpu[each.name] += each.cpu_seconds()
    findings = Findings(_rows(found, daemon, floor), _details(found, contestants), {"openloop": _raw(found)})
    requests = rounds * RATE * (seconds + _WARM)
    spent = ", ".join(f"{each.name} {cpu[each.name] / requests * 1e6:.0f} us" for each in contestants[1:])
    findings.details.append(Detail(_PART, "CPU per request at this rate", spent))
    findings.details.append(Detail(_PART, "others on this machine", f"{neighbours.cores():.2f} cores"))
    lab.stop(floor, daemon)
    return findings


def _run(contestant: Contestant, seconds: float) -> Latencies:
    argv = [sys.executable, "-m", "bench.openloop", "--port", str(contestant.port), "--seconds", str(seconds)]
    argv += ["--connections", str(CONNECTIONS), "--rate", str(RATE), "--warmup", str(_WARM)]
    done = subprocess.run(pinned(LOAD_CORE, argv), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the open-loop generator failed against {contestant.name}: {done.stderr[-800:]}")
    return Latencies(**json.loads(done.stdout))


def _added(found: Mapping[str, Sequence[Latencies]], name: str, field: str) -> Spread:
    """Median over the rounds minus the direct median; the range is that of the rounds' own differences."""
    mine, direct = ([getattr(each, field) for each in found[who]] for who in (name, "direct"))
    differences = [a - b for a, b in zip(mine, direct, strict=True)]
    return Spread(spread(mine).median - spread(direct).median, min(differences), max(differences))


def _rows(found: Mapping[str, Sequence[Latencies]], daemon: Contestant, floor: Contestant | None) -> list[Row]:
    errors = sum(each.failed for each in found[daemon.name])
    ours = _added(found, daemon.name, "p99_ms")
    verdict = judge(ours.median, 3.0, 1.0, errors=errors)
    rows = [Row(f"p99 added at {RATE:,} requests/s", ours.text(".2f", " ms"), "≤ 3 ms", "≤ 1 ms", verdict, ours.median)]
    if floor is not None:
        theirs = max(_added(found, floor.name, "p99_ms").median, _NOISE_MS)
        ratio = max(ours.median, 0.0) / theirs
        text = f"{ratio:.1f}x ({ours.median:.2f} ms over {theirs:.2f} ms)"
        rows.append(
            Row("the same over what nginx adds", text, "≤ 3x", "", judge(ratio, 3.0, None, errors=errors), ratio)
        )
    return rows


def _details(found: Mapping[str, Sequence[Latencies]], contestants: Sequence[Contestant]) -> list[Detail]:
    details = []
    for contestant in contestants:
        results = found[contestant.name]
        absolute = " / ".join(
            f"{spread([getattr(each, field) for each in results]).median:.2f}"
            for field in ("p50_ms", "p95_ms", "p99_ms")
        )
        text = f"p50 / p95 / p99 {absolute} ms (p99 of the quietest round {min(each.p99_ms for each in results):.2f})"
        if contestant.process is not None:
            added = (_added(found, contestant.name, field) for field in ("p50_ms", "p95_ms", "p99_ms"))
            text += ", added " + " / ".join(f"{each.median:.2f}" for each in added) + " ms"
        text += f", {sum(each.failed for each in results)} failed"
        details.append(Detail(_PART, contestant.name, text))
    return details


def _raw(found: Mapping[str, Sequence[Latencies]]) -> dict[str, list[dict[str, float]]]:
    return {name: [asdict(each) for each in results] for name, results in found.items()}
