"""What a playbook costs, in seconds of CPU: the controller's own, and all that the nodes do meanwhile."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import NamedTuple

from lab import nodes
from lab.plan import Plan

_TICKS = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds of CPU: of this process' children that have ended, and of the nodes."""

    controller: float
    nodes: float

    def since(self, before: Cpu) -> Cpu:
        """What was spent between two moments."""
        return Cpu(self.controller - before.controller, self.nodes - before.nodes)


def spent(lab: Plan) -> Cpu:
    """What was spent until now. A process that ended is in the figures of the one that waited for it."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    alive = (int(number) for node in lab.nodes for number in nodes.processes(lab, node))
    return Cpu(ended.ru_utime + ended.ru_stime, sum(map(of, alive)))


def of(process: int) -> float:
    """The seconds of CPU of a process and of its children that have ended; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text("utf-8", "replace")
    except OSError:  # it has just ended
        return 0.0
    # fields 14 to 17 of proc_pid_stat(5), behind the name, which may hold anything but the last bracket
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / _TICKS
