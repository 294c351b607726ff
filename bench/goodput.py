"""`make bench-goodput`: what is answered, and how quickly, when more is offered than can be answered.

The provider is the project's simulator. It takes a tenth of a second and the daemon has 20 requests under way at once:
so 200 a second can be answered, whatever the machine. Offered are half of it to five times as much, by the clock, a
third each of priority 10, 5 and 2, with `[admission]` and a bound on the wait, and without. Passes when what is
admitted stays as quick: the 99th percentile at two and at five times the capacity is at most one and a half times that
at once.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import ours
from bench.contestant import JSON_HEADERS
from bench.openloop import Latencies, Share
from bench.processes import LOAD_CORE, PROXY_CORE, Processes, free_port, pinned, wait_until_answers

DELAY, UNDER_WAY, ADMITTED, WAIT = 0.1, 20, 48, 0.1
CAPACITY = UNDER_WAY / DELAY
OFFERED = (0.5, 1.0, 2.0, 5.0)
PRIORITIES = (10, 5, 2)
SECONDS, WARM = 6.0, 2.0
FLAT = 1.5
"""How many times the 99th percentile at once the capacity that at more of it may be."""


def measure(port: int, load: float) -> Latencies:
    """Offer `load` times the capacity; answers other than 200 count as refused."""
    argv = [sys.executable, "-m", "bench.openloop", "--port", str(port), "--rate", str(CAPACITY * load)]
    argv += ["--connections", "2000", "--seconds", str(SECONDS), "--warmup", str(WARM)]
    argv += ["--priorities", *map(str, PRIORITIES)]
    done = subprocess.run(pinned(LOAD_CORE, argv), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    shares = {name: Share(**share) for name, share in found.pop("by_priority").items()}
    return Latencies(**found, by_priority=shares)


def offer(load: float, bound: int) -> Latencies:
    """One cell: a simulator, a daemon with that bound, and so much load."""
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        port, provider = free_port(), free_port()
        ours.start_simulator(processes, provider, "--latency-ms", str(DELAY * 1e3), core=LOAD_CORE)
        config = ours.write_config(Path(folder), port, provider)
        wide, narrow = (f"max_concurrent_requests = {calls}" for calls in (100_000, UNDER_WAY))
        text = config.read_text().replace(wide, narrow)
        if bound:
            text = text.replace("[limits]", f"[limits]\nmax_wait = {WAIT}")
            text += f"\n[admission]\nmax_in_flight = {bound}\n"
        config.write_text(text)
        daemon = processes.start("daemon", ours.serve_argv(config, port), core=PROXY_CORE)
        wait_until_answers(daemon, port, JSON_HEADERS)
        return measure(port, load)


def row(load: float, bound: int, found: Latencies) -> str:
    """A line of the table."""
    shares = [found.by_priority[str(each)] for each in PRIORITIES]
    cells = ["on" if bound else "off", f"{load:g}×", f"{found.answered / SECONDS:.0f}"]
    cells += [f"{share.answered / max(share.answered + share.refused, 1):.0%}" for share in shares]
    cells += [f"{found.p50_ms:.0f}", f"{found.p99_ms:.0f}", *(f"{share.p99_ms:.0f}" for share in shares)]
    cells += [f"{found.refused_p99_ms:.1f}" if found.failed else "–"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    print(
        f"{CAPACITY:.0f} requests a second can be answered, each in {DELAY * 1e3:.0f} ms; max_in_flight = {ADMITTED}, "
        f"max_wait = {WAIT}\n"
    )
    head = ["admission", "offered", "answered a second", *(f"of priority {each}" for each in PRIORITIES)]
    head += ["p50 ms", "p99 ms", *(f"p99 of {each}" for each in PRIORITIES), "p99 of refusals"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    quickness: dict[float, float] = {}
    for bound in (ADMITTED, 0):
        for load in OFFERED:
            found = offer(load, bound)
            if bound:
                quickness[load] = found.p99_ms
            print(row(load, bound, found), flush=True)
    times = {load: quickness[load] / max(quickness[1.0], 1e-9) for load in OFFERED if load > 1}
    flat = all(each <= FLAT for each in times.values())
    told = ", ".join(f"at {load:g}× {each:.2f} times" for load, each in times.items())
    print(f"\n{'passed' if flat else 'FAILED'}: p99 of what is admitted is {told} that at 1× (at most {FLAT:g})")
    sys.exit(not flat)


if __name__ == "__main__":
    main()
