"""The judge, who watches it, and Redis."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.peers import SkippedError
from bench.quota.scene import REPLY_TOKENS, Scene
from bench.statistics import percentile

WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Seen:
    """What the judge had counted at a moment of its own clock, in seconds."""

    at: float
    answered: int
    tokens: int
    refused: int


def program() -> str:
    """Redis, or Valkey. Raises SkippedError where there is neither."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise SkippedError("needs redis-server: apt-get install redis-server")
    return found


class Redis:
    """A Redis without a memory of its own, on a port of every address. Raises SkippedError where there is none."""

    def __init__(self, port: int) -> None:
        """It is started, and not waited for: members try again."""
        self._command = [program(), "--port", str(port), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""]
        self._process = self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.away(True)

    def away(self, away: bool) -> None:
        """Kill it, or start it anew: it has forgotten everything then."""
        if away:
            self._process.kill()
            self._process.wait()
        else:
            self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*self._command, "--dir", tempfile.gettempdir()], stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def judge(scene: Scene) -> Iterator[str]:
    """The simulator, with the limit and the burst; gives its URL, with 0.0.0.0 for a host."""
    command = [str(Path(sys.executable).with_name("ai-client")), "simulate", "--listen", "0.0.0.0:0", "--json"]
    command += ["--rpm", str(scene.rpm), "--tpm", str(scene.tpm), "--burst-seconds", str(scene.burst_seconds)]
    command += ["--latency-ms", "300"] + ([] if scene.trace else ["--reply-tokens", str(REPLY_TOKENS)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        yield str(json.loads(process.stdout.readline())["url"])
    finally:
        process.terminate()
        process.wait()


class Watch:
    """Asks the judge five times a second what it has counted: how far ahead of the rate it was, and how quick it is."""

    def __init__(self, url: str) -> None:
        """`url` is the judge's, reachable from here."""
        self.seen: list[Seen] = []
        self.took: list[float] = []
        self._connection = http.client.HTTPConnection(str(urllib.parse.urlsplit(url).netloc), timeout=30)
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._connection.close()

    def now(self) -> Seen:
        """What it has counted so far."""
        with self._lock:
            begun = time.perf_counter()
            self._connection.request("GET", "/sim/stats")
            stats = json.loads(self._connection.getresponse().read())
            self.took.append(time.perf_counter() - begun)
            tokens = stats["prompt_tokens"] + stats["completion_tokens"]
            self.seen.append(Seen(stats["uptime_ms"] / 1000, stats["answered"], tokens, stats["rate_limited"]))
            return self.seen[-1]

    def _run(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            self.now()

    def ahead(self, scene: Scene) -> float:
        """Of requests or of tokens: seconds of the rate that were spent, at most, before they had accrued."""
        moments = [each.at for each in self.seen]
        requests = ahead(moments, [each.answered + each.refused for each in self.seen], scene.rpm / 60)
        return max(requests, ahead(moments, [each.tokens for each in self.seen], scene.tpm / 60))

    @property
    def took_p99(self) -> float:
        """Seconds until an answer."""
        return percentile(self.took, 99)


def ahead(moments: Sequence[float], counts: Sequence[int], per_second: float) -> float:
    """By how many seconds of the rate any stretch of the record holds more than accrued in it: 0 is never."""
    level = most = 0.0
    for (since, before), (until, after) in itertools.pairwise(zip(moments, counts, strict=True)):
        level = max(0.0, level + (after - before) - per_second * (until - since))
        most = max(most, level)
    return most / per_second


def used(scene: Scene, since: Seen, until: Seen) -> tuple[float, float]:
    """The share of the requests, and of the tokens, that the limit granted between two looks."""
    span = (until.at - since.at) / 60
    requests = (until.answered - since.answered) / (scene.rpm * span)
    return requests, (until.tokens - since.tokens) / (scene.tpm * span)
