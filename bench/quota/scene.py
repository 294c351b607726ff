"""What a run needs: the judge, Redis, the members, and the wire between them that can be cut."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.processes import free_port

BURST_SECONDS = 5.0
"""What the judge lets a rested key spend at once: a twelfth of what providers usually do."""
REPLY_TOKENS = 90
PATIENCE = 10.0
NAMESPACE = "ai-client-quota"
ROUTE = "10.87.3"
TRACE = Path(os.environ.get("QUOTA_TRACE", "../shared/data/azure_llm_2023/AzureLLMInferenceTrace_code.csv"))


@dataclass
class Run:
    """One case: the limit, the demand as a multiple of it, and what happens in the middle."""

    name: str
    rpm: int
    tpm: int
    demand: float
    members: int
    seconds: float
    away: str = ""  # "killed", "cut off", or nothing
    away_seconds: float = 60.0
    trace: bool = False


@dataclass
class Outcome:
    """What the judge and the members counted. Shares are of what the limit grants in the time."""

    run: Run
    sent: int = 0
    provider_429: int = 0
    failed: int = 0
    refused_here: int = 0
    by_member: list[int] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    trips: int = 0
    requests_used: float = 0.0
    tokens_used: float = 0.0
    used_while_away: float = 0.0

    @property
    def reached(self) -> int:
        """Calls that reached the provider."""
        return len(self.answered) + self.provider_429 + self.failed

    @property
    def jain(self) -> float:
        """Jain's index over the members."""
        squares = sum(each * each for each in self.by_member)
        return sum(self.by_member) ** 2 / (len(self.by_member) * squares) if squares else 0.0


@contextlib.contextmanager
def redis(port: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A Redis without a memory of its own; whoever kills it puts the next one into the list."""
    running = [start_redis(port)]
    try:
        yield running
    finally:
        running[-1].kill()
        running[-1].wait()


def start_redis(port: int) -> subprocess.Popen[bytes]:
    """Start one, and wait for nothing: members try again."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        sys.exit("bench-quota needs redis-server: apt-get install redis-server")
    command = [program, "--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
    return subprocess.Popen([*command, "--dir", tempfile.gettempdir()], stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def judge(run: Run) -> Iterator[str]:
    """The simulator, with the limit and a small burst; gives its URL."""
    command = [str(Path(sys.executable).with_name("ai-client")), "simulate", "--listen", "0.0.0.0:0", "--json"]
    command += ["--rpm", str(run.rpm), "--tpm", str(run.tpm), "--burst-seconds", str(BURST_SECONDS)]
    command += ["--latency-ms", "300"] + ([] if run.trace else ["--reply-tokens", str(REPLY_TOKENS)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.terminate()
        process.wait()


def counted(url: str) -> tuple[int, int, int]:
    """What the judge answered so far: requests, tokens, and 429s."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/sim/stats") as answer:
        stats = json.load(answer)
    return stats["answered"], stats["prompt_tokens"] + stats["completion_tokens"], stats["rate_limited"]


@contextlib.contextmanager
def cut_off() -> Iterator[Callable[[bool], None]]:
    """A network namespace that reaches this machine at two addresses; `cut(True)` takes Redis' from it."""

    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, stderr=None if check else subprocess.DEVNULL)

    ip("netns", "del", NAMESPACE, check=False)
    ip("link", "del", "aiq0", check=False)
    ip("netns", "add", NAMESPACE)
    ip("link", "add", "aiq0", "type", "veth", "peer", "name", "aiq1", "netns", NAMESPACE)
    for last in ("1", "2"):
        ip("addr", "add", f"{ROUTE}.{last}/24", "dev", "aiq0")
    ip("link", "set", "aiq0", "up")
    ip("-n", NAMESPACE, "addr", "add", f"{ROUTE}.9/24", "dev", "aiq1")
    ip("-n", NAMESPACE, "link", "set", "aiq1", "up")
    try:
        yield lambda cut: ip("-n", NAMESPACE, "route", "add" if cut else "del", "blackhole", f"{ROUTE}.1/32")
    finally:
        ip("netns", "del", NAMESPACE, check=False)
        ip("link", "del", "aiq0", check=False)


def arrivals(run: Run) -> list[list[tuple[float, int, int]]]:
    """The trace, for each member: when, characters of the prompt, bound of the answer; sped up to the demand."""
    with TRACE.open() as file:
        rows = list(csv.DictReader(file))
    clock = [row["TIMESTAMP"].partition(" ")[2].split(":") for row in rows]
    moments = [int(hour) * 3600 + int(minute) * 60 + float(second) for hour, minute, second in clock]
    sizes = [(int(row["ContextTokens"]), max(1, int(row["GeneratedTokens"]))) for row in rows]
    # as many rows as bring the demand, in whichever of the two is shorter, in the time there is
    cost = list(itertools.accumulate(max((a + b) / run.tpm, 1 / run.rpm) * 60 for a, b in sizes))
    count = sum(1 for each in cost if each <= run.demand * run.seconds)
    speed = run.seconds / (moments[count - 1] - moments[0])
    found: list[list[tuple[float, int, int]]] = [[] for _ in range(run.members)]
    for place in range(count):
        found[place % run.members].append(((moments[place] - moments[0]) * speed, sizes[place][0] * 4, sizes[place][1]))
    return found


def environment(run: Run, url: str, redis_url: str, name: str) -> dict[str, str]:
    """A member's configuration."""
    settings = {
        "API__PROVIDER": "sim",
        "API__BASE_URL": url,
        "API__API_KEY": "sk-bench-of-quota",
        "API__MODELS": "*",
        "API__MAX_RETRIES": 0,
        "CACHING__ENABLED": "no",
        "LIMITS__REQUESTS_PER_MINUTE": run.rpm,
        "LIMITS__TOKENS_PER_MINUTE": run.tpm,
        "PERFORMANCE__MAX_CONCURRENT_REQUESTS": 1000,
        "FLEET__BACKEND": "redis",
        "FLEET__REDIS_URL": redis_url,
        "FLEET__NODE_NAME": name,
    }
    return {**os.environ, **{f"AI_CLIENT_{key}": str(value) for key, value in settings.items()}}


def start_members(run: Run, url: str, port: int, *, apart: bool) -> list[subprocess.Popen[bytes]]:
    """All members, ready; the second half in a network namespace where some are to be cut off."""
    per_second = run.demand * min(run.rpm, run.tpm / 200) / 60 / run.members
    steps = arrivals(run) if run.trace else None
    found = []
    for place in range(run.members):
        inside = apart and place >= run.members // 2
        host = f"{ROUTE}.1" if inside else "127.0.0.1"
        there = url.replace("0.0.0.0", f"{ROUTE}.2" if inside else "127.0.0.1")
        told: dict[str, Any] = {
            "seed": place,
            "seconds": run.seconds,
            "rate": per_second,
            "reply": REPLY_TOKENS,
            "patience": PATIENCE,
            "arrivals": steps[place] if steps is not None else None,
        }
        command = [sys.executable, "-m", "bench.quota.member"]
        if inside:
            command = ["ip", "netns", "exec", NAMESPACE, *command]
        member = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(run, there, f"redis://{host}:{port}/0", f"m{place}"),
        )
        assert member.stdin is not None
        member.stdin.write(json.dumps(told).encode() + b"\n")
        member.stdin.flush()
        found.append(member)
    for member in found:
        assert member.stdout is not None
        member.stdout.readline()
    return found


def begin_all(members: list[subprocess.Popen[bytes]]) -> float:
    """Name them all one moment; returns it."""
    begin = time.time() + 1
    for member in members:
        assert member.stdin is not None
        member.stdin.write(f"{begin}\n".encode())
        member.stdin.close()
    return begin


def perform(run: Run) -> Outcome:
    """One case, from its start to what was counted."""
    outcome = Outcome(run)
    port = free_port()
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(redis(port))
        url = stack.enter_context(judge(run))
        cut = stack.enter_context(cut_off()) if run.away == "cut off" else None
        here = url.replace("0.0.0.0", "127.0.0.1")
        members = start_members(run, url, port, apart=cut is not None)
        begin = begin_all(members)
        _until(begin + 10)
        first = counted(here)
        if run.away:
            middle = begin + (run.seconds - run.away_seconds) / 2
            _until(middle)
            before = counted(here)
            if cut is not None:
                cut(True)
            else:
                servers[-1].kill()
                servers[-1].wait()
            _until(middle + run.away_seconds)
            outcome.used_while_away = (counted(here)[0] - before[0]) / (run.rpm / 60 * run.away_seconds)
            if cut is not None:
                cut(False)
            else:
                servers.append(start_redis(port))
        _until(begin + run.seconds)
        last = counted(here)
        span = run.seconds - 10
        outcome.requests_used = (last[0] - first[0]) / (run.rpm / 60 * span)
        outcome.tokens_used = (last[1] - first[1]) / (run.tpm / 60 * span)
        for member in members:
            assert member.stdout is not None
            said = json.loads(member.stdout.read() or b"{}")
            member.wait()
            outcome.by_member.append(len(said.get("answered", ())))
            outcome.answered += said.get("answered", ())
            for name in ("sent", "provider_429", "failed", "refused_here", "trips"):
                setattr(outcome, name, getattr(outcome, name) + said.get(name, 0))
    return outcome


def _until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.time()))
