"""`python -m bench.fleet test|demo|bench`: boots the nodes, does it all, prints the table, and removes the nodes.

Exits with 1 when something was missed, and with 3 when this machine cannot have a fleet.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from ai_client.errors import AIClientError
from bench.fleet import stages
from bench.fleet.articles import articles
from bench.fleet.drift import drift
from bench.fleet.fleet import Fleet, missing
from bench.fleet.keys import benchmark, rotate
from bench.fleet.paper import paper
from bench.fleet.pool import pool
from bench.fleet.sealed import bundle, collection, no_way_out
from bench.fleet.stages import Row, Run
from bench.fleet.store import store
from bench.fleet.variants import BROKEN, variant

_CANNOT = 3

Stage = Callable[[Run], None]

_SHOWN: tuple[Stage, ...] = (
    *(stages.floor, stages.deploy, stages.again, stages.commands),
    *(stages.upgrade, stages.bad_releases),
)
_TRIED: tuple[Stage, ...] = (
    *(stages.check_blank, stages.deploy, no_way_out, stages.again, stages.commands, stages.upgrade),
    *(stages.bad_releases, stages.killed, rotate, pool, benchmark, drift, stages.rollback, stages.uninstall),
)
_MEASURED: tuple[Stage, ...] = (
    *(stages.floor, articles, stages.check_blank, stages.deploy, no_way_out, stages.again, stages.configure),
    *(stages.commands, stages.upgrade, stages.bad_releases, stages.killed, rotate, benchmark, drift),
    *(stages.rollback, paper, stages.uninstall),
)
_ASKED_FOR: tuple[Stage, ...] = (store,)
"""Some minutes long: only by name."""
_KINDS: dict[str, tuple[int, float, int, tuple[Stage, ...]]] = {
    # nodes, requests a second on each, kills, stages
    "test": (6, 5.0, 2, _TRIED),
    "demo": (5, 10.0, 0, _SHOWN),
    "bench": (50, 1.0, 10, _MEASURED),
}


def main() -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(prog="bench.fleet", description="The collection on a lab of real nodes.")
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("--nodes", type=int, help="how many  [default: 6, 5 or 50]")
    parser.add_argument("--kills", type=int, help="how often the controller is killed  [default: 2, 0 or 10]")
    parser.add_argument("--only", default="", help="stages, with commas")
    parser.add_argument("--keep", action="store_true", help="leave the nodes and the folder for a look")
    parser.add_argument("--interpreter", action="append", default=[], help="a Python to compile releases with")
    given = parser.parse_args()
    nodes, rate, kills, chosen = _KINDS[given.kind]
    if given.only:
        try:
            chosen = picked(given.only, (*chosen, *_ASKED_FOR))
        except ValueError as error:
            parser.error(str(error))
    lacks = missing()
    if lacks:
        print(f"No fleet here: {lacks}", file=sys.stderr)
        return _CANNOT
    kills = kills if given.kills is None else given.kills
    signal.signal(signal.SIGTERM, _interrupt)
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="ai-client-fleet-"))
    try:
        rows = _run(folder, given.nodes or nodes, rate, kills, chosen, given.keep, given.interpreter)
    finally:
        if given.keep:
            print(f"kept: {folder}; remove the nodes with LAB={folder}/lab make lab-down")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(table(rows))
    print(f"\n{given.nodes or nodes} nodes, {os.cpu_count()} cores, {time.monotonic() - begun:.0f} s in all")
    return 1 if any(row.met is False for row in rows) else 0


def _run(
    folder: Path,
    nodes: int,
    rate: float,
    kills: int,
    chosen: Sequence[Stage],
    keep: bool,
    interpreters: Sequence[str],
) -> list[Row]:
    try:
        first, installed = bundle(folder, interpreters), collection(folder)
    except (AIClientError, RuntimeError) as error:
        sys.exit(f"no bundle: {error}")
    second = variant(first, folder / "second", "0.2.0")
    broken = {name: variant(first, folder / name, "0.3.0", before) for name, before in BROKEN.items()}
    with Fleet(folder, nodes, installed, images=os.environ.get("LAB_IMAGES"), keep=keep) as fleet:
        print(f"{nodes} nodes are up", flush=True)
        run = Run(fleet, first, second, broken, rate, kills)
        for stage in chosen:
            stage(run)
    return run.rows


def picked(names: str, known: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages of these names, in their own order. Raises ValueError for a name that none of them has."""
    asked, there = [name.strip() for name in names.split(",")], [stage.__name__ for stage in known]
    unknown = [name for name in asked if name not in there]
    if unknown:
        raise ValueError(f"no stage is called {', '.join(map(repr, unknown))}: there are {', '.join(there)}")
    return tuple(stage for stage in known if stage.__name__ in asked)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    marks = {True: "yes", False: "**no**", None: ""}
    lines = ["", "| what | figure | must | met |", "|---|---|---|---|"]
    return "\n".join([*lines, *(f"| {row.what} | {row.figure} | {row.must} | {marks[row.met]} |" for row in rows)])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
