"""`make bench-goodput`: what is answered, and how quickly, when more is offered than can be answered.

The upstream takes a tenth of a second and the daemon has 20 requests under way at once: so 200 a second can be
answered, whatever the machine. Offered are half of it to five times as much, by the clock, with `[admission]` and
without.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import ours
from bench.contestant import JSON_HEADERS
from bench.lab import Lab
from bench.openloop import Latencies
from bench.processes import LOAD_CORE, PROXY_CORE, Processes, free_port, pinned, wait_until_answers

DELAY, UNDER_WAY, ADMITTED = 0.1, 20, 48
CAPACITY = UNDER_WAY / DELAY
OFFERED = (0.5, 1.0, 2.0, 5.0)
SECONDS, WARM = 6.0, 2.0


def measure(port: int, load: float) -> Latencies:
    """Offer `load` times the capacity; answers other than 200 count as failed."""
    argv = [sys.executable, "-m", "bench.openloop", "--port", str(port), "--rate", str(CAPACITY * load)]
    argv += ["--connections", "2000", "--seconds", str(SECONDS), "--warmup", str(WARM)]
    done = subprocess.run(pinned(LOAD_CORE, argv), capture_output=True, text=True, check=True)
    return Latencies(**json.loads(done.stdout))


def main() -> None:
    """Print the table."""
    print(
        f"{CAPACITY:.0f} requests a second can be answered, each in {DELAY * 1e3:.0f} ms; max_in_flight = {ADMITTED}\n"
    )
    print(
        "| admission | offered | answered in the end | refused or failed | p50 ms | p99 ms |\n|---|---|---|---|---|---|"
    )
    for bound in (ADMITTED, 0):
        for load in OFFERED:
            with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
                port = free_port()
                upstream = Lab(processes, None, None, quick=False, peers=False).upstream(DELAY)
                config = ours.write_config(Path(folder), port, upstream.port)
                wide, narrow = (f"max_concurrent_requests = {calls}" for calls in (100_000, UNDER_WAY))
                text = config.read_text().replace(wide, narrow)
                # usual priority has 72 % of the bound
                config.write_text(f"{text}\n[admission]\nmax_in_flight = {bound}\n")
                daemon = processes.start("daemon", ours.serve_argv(config, port), core=PROXY_CORE)
                wait_until_answers(daemon, port, JSON_HEADERS)
                found = measure(port, load)
            cells = (
                "on" if bound else "off",
                f"{load:g}x",
                f"{found.answered} of {CAPACITY * load * SECONDS:.0f}",
                str(found.failed),
            )
            print("| " + " | ".join((*cells, f"{found.p50_ms:.0f}", f"{found.p99_ms:.0f}")) + " |", flush=True)


if __name__ == "__main__":
    main()
