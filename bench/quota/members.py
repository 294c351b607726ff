"""Starts the members of a scene, names them one moment to begin, and gathers what they counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from bench.processes import NotReadyError
from bench.quota import wire
from bench.quota.arrivals import Arrival, dealt
from bench.quota.scene import Scene


def environment(scene: Scene, url: str, redis_url: str, name: str) -> dict[str, str]:
    """A member's configuration."""
    settings: dict[str, object] = {
        "API__PROVIDER": "sim",
        "API__BASE_URL": url,
        "API__API_KEY": "sk-bench-of-quota",
        "API__MODELS": "*",
        "API__MAX_RETRIES": 0,
        "CACHING__ENABLED": "no",
        "PERFORMANCE__MAX_CONCURRENT_REQUESTS": 1000,
    }
    if scene.through:
        settings["API__MAX_RETRIES"] = 2  # what OpenAI's own library does by default
    else:
        settings |= {
            "LIMITS__REQUESTS_PER_MINUTE": scene.rpm,
            "LIMITS__TOKENS_PER_MINUTE": scene.tpm,
            "FLEET__BACKEND": "redis",
            "FLEET__REDIS_URL": redis_url,
            "FLEET__NODE_NAME": name,
        }
    return {f"AI_CLIENT_{key}": str(value) for key, value in settings.items()}


def told(scene: Scene, place: int, steps: list[list[Arrival]] | None) -> dict[str, Any]:
    """What a member is to ask."""
    rate = scene.demand * scene.calls_per_second / scene.workers
    busy = {"name": "busy", "rate": rate, "begin": 0.0, "round": scene.seconds}
    apps = [busy] if not scene.trace and place < scene.workers else []
    if scene.light:
        busy["begin"] = half = scene.seconds / 2
        apps.append({"name": "light", "rate": scene.light / scene.members, "begin": 0.0, "round": half})
    return {
        "seed": place,
        "seconds": scene.seconds,
        "apps": apps,
        "patience": scene.patience,
        "arrivals": steps[place] if steps is not None else None,
    }


class Group:
    """Members that are forks of one process."""

    def __init__(self, specs: list[dict[str, Any]], *, inside: bool) -> None:
        """`inside` the network namespace, or not."""
        command = [sys.executable, "-m", "bench.quota.member"]
        if inside:
            command = ["ip", "netns", "exec", wire.NAMESPACE, *command]
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the group
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, start_new_session=True
        )
        self._tell(json.dumps(specs))

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        found = self._process.stdout.readline()
        if not found:
            self.said.seek(0)
            raise NotReadyError(f"a group of members ended: {self.said.read()[-1500:].decode(errors='replace')}")
        return found

    def wait_ready(self) -> None:
        """Returns when all have opened their client. Raises NotReadyError."""
        self._line()

    def begin(self, moment: float) -> None:
        """Name them the moment."""
        self._tell(str(moment))

    def found(self) -> list[dict[str, Any]]:
        """What each counted, when the time is over; fewer when some ended early. Raises NotReadyError."""
        found: list[dict[str, Any]] = json.loads(self._line())
        self._process.wait()
        return found

    def stop(self) -> None:
        """End what still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@contextlib.contextmanager
def members(scene: Scene, url: str, port: int, steps: list[Arrival] | None) -> Iterator[list[Group]]:
    """All members, ready; the second half in a network namespace where some are to be cut off."""
    dealt_steps = dealt(steps, scene.members) if steps is not None else None
    halves: list[list[dict[str, Any]]] = [[], []]
    for place in range(scene.members):
        inside = scene.away == "cut off" and place >= scene.members // 2
        there = url.replace("0.0.0.0", wire.JUDGE_HOST if inside else "127.0.0.1")
        if scene.through:
            there = scene.through[place % len(scene.through)]
        redis_url = f"redis://{wire.REDIS_HOST if inside else '127.0.0.1'}:{port}/0"
        spec = {
            "environment": environment(scene, there, redis_url, f"m{place}"),
            "told": told(scene, place, dealt_steps),
        }
        halves[inside].append(spec)
    groups: list[Group] = []
    try:
        for apart, specs in enumerate(halves):
            if specs:
                groups.append(Group(specs, inside=bool(apart)))
        for group in groups:
            group.wait_ready()
        yield groups
    finally:
        for group in groups:
            group.stop()


def begin_all(groups: list[Group]) -> float:
    """Name them all one moment; returns it."""
    moment = time.time() + 1
    for group in groups:
        group.begin(moment)
    return moment
