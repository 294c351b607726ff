"""Real arrivals: the trace in data/traces, faster than it was, dealt to the members in turn."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

from bench.quota.scene import WARM_SECONDS, Scene

TRACE = Path(__file__).parents[2] / "data" / "traces" / "azure_code_2023.csv"
FIRST = 3000
"""The line to begin with: before it the trace has holes that leave nobody waiting, however much comes after."""

Arrival = tuple[float, int, int]
"""Seconds after the begin, tokens of the prompt, tokens of the answer."""


def arrivals(scene: Scene) -> list[Arrival]:
    """As many lines as bring the demand, in whichever of the two limits is shorter, in the time that there is."""
    with TRACE.open() as file:
        rows = [(float(row["seconds"]), int(row["context"]), int(row["generated"])) for row in csv.DictReader(file)]
    rows = [(at, context, max(1, generated)) for at, context, generated in rows[FIRST:]]
    wanted = scene.demand * scene.seconds
    costs = itertools.accumulate(cost(scene, context + generated) for _, context, generated in rows)
    count = sum(1 for each in costs if each <= wanted)
    first, last = rows[0][0], rows[count - 1][0]
    return [((at - first) * scene.seconds / (last - first), one, two) for at, one, two in rows[:count]]


def dealt(found: list[Arrival], members: int) -> list[list[Arrival]]:
    """To each member its own."""
    return [found[place::members] for place in range(members)]


def cost(scene: Scene, tokens: int) -> float:
    """Seconds of the whole limit that a call takes."""
    return max(tokens / scene.tpm, 1 / scene.rpm) * 60


def possible(scene: Scene, found: list[Arrival]) -> float:
    """What one process with all arrivals in one line could use of the limit, first come, first served."""
    free = used = 0.0
    for at, context, generated in found:
        begin = max(at, free)
        if begin - at <= scene.patience:
            free = begin + cost(scene, context + generated)
            used += max(0.0, min(free, scene.seconds) - max(begin, WARM_SECONDS))
    return used / (scene.seconds - WARM_SECONDS)
