"""`make soak`: an hour of mixed traffic with faults, callers who leave, outages and reloads; does the daemon grow?

Passes when its memory after the warm-up stays flat within 5 %, everything it held is given back in the end, and no
caller was told a lie. 600 calls a second keep a daemon busy for half of its time, as the last lines tell. SOAK_SECONDS
and SOAK_RATE shorten and weaken it; SOAK_SEED is printed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import uvloop

from bench.ours import start_simulator
from bench.processes import Process, Processes, allow_many_files, free_port
from endurance.served import Figures
from endurance.traffic import MODELS, Traffic
from endurance.wire import End

FLAT = 0.05
WARM = 1 / 6
"""The part of the run in which caches fill and pools grow."""
RELOAD_SECONDS, OUTAGE_SECONDS, OUTAGE_LASTS = 60.0, 300.0, 10.0
REST_SECONDS = 45.0
"""Longer than a connection to a provider is kept without use."""
FAULTS = (
    *("status:503@p=0.01", "status:429@p=0.003", "status:500@p=0.003", "html:502@p=0.002", "reset@p=0.005"),
    *("reset-after-headers@p=0.002", "cut:reset@p=0.003", "cut:fin@p=0.003", "cut:close@p=0.003", "no-done@p=0.003"),
    *("no-finish@p=0.002", "bad-json@p=0.003", "sse-error@p=0.003", "length:more@p=0.002", "empty@p=0.002"),
    *("bad-gzip@p=0.002", "stall@p=0.001", "stall-mid@p=0.001", "stall-mid@p=0.002,for=2", "drip:20@p=0.003"),
)
_CONFIG = """
[api]
base_url = http://127.0.0.1:{upstream}/v1
api_key = hs_soak
models = {models}
timeout = 20
connection_pool_size = 400
[models]
default = gpt-4.1
fallback = deepseek-v3.2
[performance]
read_timeout = 5
max_concurrent_requests = 150
[limits]
requests_per_minute = {rpm}
tokens_per_minute = {tpm}
heed_providers = no
[caching]
enabled = true
memory_mb = 4
cache_dir = {folder}/cache
max_cache_size_gb = 0.02
[costs]
ledger = {folder}/ledger.db
budget_usd_per_day = 100000
[admission]
max_in_flight = 600
[logging]
destination = file
log_dir = {folder}
[monitoring]
metrics_port = 0
[daemon]
listen = 127.0.0.1:{port}
"""


class Found(NamedTuple):
    """What the daemon held before the traffic, during it, and when all was over; and the traffic."""

    before: Figures
    samples: list[Figures]
    after: Figures
    traffic: Traffic


def table(samples: Sequence[Figures], rows: int = 12) -> str:
    """The run in so many lines, each the medians of its part."""
    head = ("minute", "RSS MB", "descriptors", "tasks", "to providers", "reservations", "waiting", "calls", "callers")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    size = max(1, -(-len(samples) // rows))
    for at in range(0, len(samples), size):
        part = samples[at : at + size]
        names = ("descriptors", "tasks", "pool", "held", "waiting", "in_flight", "callers")
        middles = [f"{statistics.median(getattr(each, name) for each in part):.0f}" for name in names]
        rss = statistics.median(each.rss for each in part) / 1e6
        lines.append("| " + " | ".join((f"{part[0].seconds / 60:.0f}", f"{rss:.1f}", *middles)) + " |")
    return "\n".join(lines)


def growth(samples: Sequence[Figures]) -> float:
    """By what part memory grew from the first third after the warm-up to the last: medians, so no peak decides."""
    warm = [each.rss for each in samples if each.seconds >= samples[-1].seconds * WARM]
    third = max(1, len(warm) // 3)
    return statistics.median(warm[-third:]) / statistics.median(warm[:third]) - 1


def leaks(before: Figures, after: Figures) -> list[str]:
    """What is still held when nothing is asked any more."""
    found = [
        f"{getattr(after, name)} {name.replace('_', ' ')} left"
        for name in ("pool", "pool_waiting", "held", "waiting", "in_flight", "callers")
        if getattr(after, name)
    ]
    return found + [
        f"{getattr(after, name)} {name}, {getattr(before, name)} before"
        for name in ("tasks", "descriptors")
        if getattr(after, name) > getattr(before, name)
    ]


def read(path: Path) -> list[Figures]:
    """What the daemon has told so far."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [msgspec.json.decode(line, type=Figures) for line in whole.splitlines()]


def _simulator_faults(port: int, faults: Sequence[str]) -> None:
    body = json.dumps({"faults": faults}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/sim/faults", body, method="POST")
    with urllib.request.urlopen(request, timeout=10):
        pass


async def _disturb(daemon: Process, upstream: int) -> None:
    """Reload every minute; every five, one model fails for ten seconds, so that its circuit opens."""
    loop = asyncio.get_running_loop()

    async def reloads() -> None:
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            os.kill(daemon.popen.pid, signal.SIGHUP)

    async def outages() -> None:
        while True:
            await asyncio.sleep(OUTAGE_SECONDS)
            broken = (f"status:503@model={MODELS[0]}", *FAULTS)
            await loop.run_in_executor(None, _simulator_faults, upstream, broken)
            await asyncio.sleep(OUTAGE_LASTS)
            await loop.run_in_executor(None, _simulator_faults, upstream, FAULTS)

    await asyncio.gather(reloads(), outages())


async def _until_ready(path: Path, process: Process) -> None:
    while not read(path):
        if process.popen.poll() is not None:
            sys.exit(f"{process.name} ended: {process.log.read_text()[-2000:]}")
        await asyncio.sleep(0.1)


async def _drive(daemon: Process, port: int, upstream: int, rate: float, seconds: float, figures: Path) -> Found:
    await _until_ready(figures, daemon)
    # what is opened once and kept is opened now: logs, ledger, cache
    first = Traffic("127.0.0.1", port, 20, random.Random(0))
    await first.run(2)
    await asyncio.sleep(REST_SECONDS)
    before = len(read(figures))
    disturbance = asyncio.create_task(_disturb(daemon, upstream))
    traffic = Traffic("127.0.0.1", port, rate, random.Random(os.environ.get("SOAK_SEED", "1")))
    await traffic.run(seconds)
    after = len(read(figures))
    disturbance.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await disturbance
    await asyncio.sleep(REST_SECONDS)
    samples = read(figures)
    return Found(samples[before - 1], samples[before:after], samples[-1], traffic)


def run(seconds: float, rate: float) -> tuple[Found, float, list[str]]:
    """Start all of it, and let it run: what was found, the daemon's seconds of CPU, and what went wrong inside it."""
    with tempfile.TemporaryDirectory() as name, Processes(Path(name)) as processes:
        folder, port, upstream = Path(name), free_port(), free_port()
        allow_many_files()
        faults = (part for each in FAULTS for part in ("--fault", each))
        start_simulator(processes, upstream, "--latency-ms", "60", "--token-ms", "5", *faults)
        config, figures = folder / "ai-client.conf", folder / "figures.jsonl"
        values = {"upstream": upstream, "port": port, "folder": folder, "models": ", ".join(MODELS)}
        config.write_text(_CONFIG.format(rpm=int(rate * 60 * 1.5), tpm=int(rate * 60 * 200), **values))
        serve = [sys.executable, "-m", "endurance.served", "--config", str(config), "--figures", str(figures)]
        daemon = processes.start("daemon", serve)
        found = uvloop.run(_drive(daemon, port, upstream, rate, seconds, figures))
        wrong = [] if daemon.popen.poll() is None else [f"the daemon ended: {daemon.log.read_text()[-1000:]}"]
        told = "".join(each.read_text() for each in sorted(folder.glob("daemon*")))
        wrong += [line[:300] for line in told.splitlines() if "internal_error" in line or "never retrieved" in line]
        return found, daemon.cpu_seconds(), wrong


def report(found: Found, cpu: float, wrong: list[str]) -> int:
    """Print it; 0 when it passed."""
    ends, grown = found.traffic.ends, growth(found.samples)
    print(table(found.samples))
    calls = ", ".join(f"{ends[end]} {end.value}" for end in End)
    spent = found.samples[-1].seconds - found.samples[0].seconds
    print(f"\n{ends.total()} calls in {spent:.0f} s: {calls}; the daemon used {cpu / spent:.1%} of a core")
    print(f"{found.traffic.callers.again} of them met a connection that was closed at rest, and were sent anew")
    print(
        f"this side fell behind by {found.traffic.late:.2f} s at its worst, and left out {found.traffic.skipped} calls"
    )
    print(f"memory: {grown:+.1%} from the first third after the warm-up to the last (at most {FLAT:.0%})")
    failed = [*wrong, *leaks(found.before, found.after)]
    failed += [f"memory grew by {grown:.1%}"] if grown > FLAT else []
    failed += [f"{ends[end]} calls were {end.value}" for end in (End.LOST, End.LIE) if ends[end]]
    for each in failed:
        print(f"FAILED: {each}")
    print("failed" if failed else "passed: nothing is left, nothing grew, nobody was told a lie")
    return 1 if failed else 0


def main() -> None:
    """Run as long as SOAK_SECONDS says."""
    seconds, rate = float(os.environ.get("SOAK_SECONDS", "3600")), float(os.environ.get("SOAK_RATE", "600"))
    seed = os.environ.get("SOAK_SEED", "1")
    print(f"soak: {seconds:.0f} s, {rate:.0f} calls a second, seed {seed}\n", flush=True)
    sys.exit(report(*run(seconds, rate)))


if __name__ == "__main__":
    main()
