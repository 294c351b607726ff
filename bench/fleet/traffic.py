"""Callers on every node, all the while something is done to the fleet."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.fleet.fleet import Fleet
from bench.statistics import percentile

_CALLER = Path(__file__).with_name("caller.py")


@dataclass
class Traffic:
    """What the callers met, by node; filled when they have ended."""

    seconds: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    answered: dict[str, int] = field(default_factory=dict)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of what was answered, in ms."""
        return percentile(self.seconds, 99) * 1e3 if self.seconds else 0.0

    @property
    def told(self) -> str:
        """How many of how many failed, and the first reason."""
        reason = f" ({self.failed[0]})" if self.failed else ""
        return f"{len(self.failed)} of {len(self.failed) + len(self.seconds)} requests failed{reason}"

    @property
    def sound(self) -> bool:
        """Whether every node was asked, and everything was answered."""
        return not self.failed and bool(self.answered) and all(self.answered.values())


@contextmanager
def traffic(fleet: Fleet, rate: float) -> Iterator[Traffic]:
    """Ask each node's daemon `rate` times a second while the block runs. The figures are there after it."""
    met = Traffic()
    command = f"python3 -S -c {shlex.quote(_CALLER.read_text('ascii'))} {rate}"
    callers = {
        node: fleet.open(node, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for node in fleet.names
    }
    try:
        time.sleep(1.0)  # all of them ask before anything happens to them
        yield met
        time.sleep(1.0)
    finally:
        for caller in callers.values():
            if caller.stdin:
                caller.stdin.close()
        for node, caller in callers.items():
            _read(met, node, caller)


def _read(met: Traffic, node: str, caller: subprocess.Popen[bytes]) -> None:
    printed = caller.stdout.read() if caller.stdout else b""
    complained = caller.stderr.read() if caller.stderr else b""
    caller.wait()
    try:
        told = json.loads(printed)
    except ValueError:
        met.failed.append(f"{node}: the caller itself broke: {complained[-300:]!r}")
        return
    met.seconds += told["seconds"]
    met.failed += [f"{node}: {reason}" for reason in told["failed"]]
    met.answered[node] = len(told["seconds"])
