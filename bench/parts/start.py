"""How long until the daemon answers, and how long the two quick commands take."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time

from bench import ours, workload
from bench.contestant import JSON_HEADERS
from bench.lab import Lab
from bench.processes import NotReadyError, ask, free_port
from bench.report import Findings, Row, judge
from bench.statistics import Spread, spread

_TIMES = 7
_PATIENCE = 20.0


def start(lab: Lab) -> Findings:
    """From the start of the process to the first answered chat request; `--health-check`; `--version`."""
    upstream = lab.upstream(0.0)
    _first_answer(lab, upstream.port)  # once for the caches of the file system and the compiled modules
    starts = [_first_answer(lab, upstream.port) for _ in range(_TIMES)]
    port = free_port()
    daemon = ours.start(lab.processes, port, upstream.port)
    config = ours.write_config(lab.folder, port, upstream.port)
    checks = _timed([ours.command(), "--config", str(config), "--health-check"])
    versions = _timed([ours.command(), "--version"])
    lab.stop(daemon)
    return Findings(
        [
            _row("start to first answer", spread(starts), 0.5),
            _row("`ai-client --health-check`", spread(checks), 0.25),
            _row("`ai-client --version`", spread(versions), 0.1),
        ],
        [],
        {"start": starts, "health-check": checks, "version": versions},
    )


def _row(what: str, seconds: Spread, must: float) -> Row:
    return Row(what, seconds.text(".3f", " s"), f"≤ {must:g} s", "", judge(seconds.median, must, None), seconds.median)


def _first_answer(lab: Lab, upstream: int) -> float:
    port, body = free_port(), workload.request_body()
    config = ours.write_config(lab.folder, port, upstream)
    begun = time.monotonic()
    process = lab.processes.start("ai-client-start", ours.serve_argv(config, port))
    with lab.processes.running(process):
        while time.monotonic() - begun < _PATIENCE and process.popen.poll() is None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, content = ask(port, JSON_HEADERS, body)
                if status == 200:
                    return time.monotonic() - begun
                raise NotReadyError(f"the first answer was {status}: {content[:300]!r}")
            time.sleep(0.001)
        raise NotReadyError(f"no answer after the start; its log: {process.log.read_text()[-800:]}")


def _timed(argv: list[str]) -> list[float]:
    seconds = []
    for _ in range(_TIMES + 1):
        begun = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        seconds.append(time.monotonic() - begun)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return seconds[1:]
