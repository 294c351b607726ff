"""wrk as a closed-loop load: 64 connections, each asking again as soon as it was answered."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import workload
from bench.contestant import Contestant
from bench.processes import LOAD_CORE, pinned

CONNECTIONS = 64

_SCRIPT = """
wrk.method = "POST"
wrk.body = {body}
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("BENCH %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Load:
    """What one run of wrk found; times in milliseconds, CPU in microseconds for a request."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    errors: int
    cpu_us: float


def _quoted(text: str) -> str:
    """A Lua long string, which needs no escapes."""
    return f"[==[{text}]==]"


def _script(headers: Mapping[str, str]) -> str:
    lines = "\n".join(f'wrk.headers["{name}"] = {_quoted(value)}' for name, value in headers.items())
    return _SCRIPT.format(body=_quoted(workload.request_body().decode()), headers=lines)


def run(binary: str, folder: Path, contestant: Contestant, seconds: float, *, core: int = LOAD_CORE) -> Load:
    """Loads `contestant` for `seconds`, from `core`. Raises RuntimeError when wrk does not report."""
    script = folder / "chat.lua"
    script.write_text(_script(contestant.headers))
    argv = [binary, "-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(seconds))}s", "--timeout", "30s"]
    argv += ["-s", str(script), f"http://127.0.0.1:{contestant.port}{workload.PATH}"]
    before = contestant.cpu_seconds()
    report = subprocess.run(pinned(core, argv), capture_output=True, text=True, check=False)
    used = contestant.cpu_seconds() - before
    found = re.search(r"^BENCH (\d+) (\d+) (\d+) (\d+) (\d+)$", report.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"wrk against {contestant.name} reported nothing: {report.stdout}{report.stderr}")
    requests, duration, errors, p50, p99 = (int(group) for group in found.groups())
    return Load(
        requests_per_second=requests / (duration / 1e6),
        p50_ms=p50 / 1e3,
        p99_ms=p99 / 1e3,
        errors=errors,
        cpu_us=used / max(requests, 1) * 1e6,
    )
