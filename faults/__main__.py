"""`python -m faults [--json FILE] [FAULT …]`: run the matrix and print the table.

The exit code is 0 when every cell is as it should be, and 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop

from faults.dials import read, watching
from faults.faces import FACES, Outcome, write_config
from faults.matrix import Cell, matrix
from faults.network import BrokenNetwork
from faults.server import PRIMARY, SPARE, FaultServer
from faults.verdict import Verdict, judge, table

LATE_SECONDS = 1.0
"""A machine that lets this process wait so long between two steps proves nothing about time-outs of four seconds."""
_LOOKS = 3
_WAITED_FOR = frozenset({429, 503, 529})


async def run(cells: Sequence[Cell], folder: Path) -> list[Verdict]:
    """Every cell; `folder` takes what they write.

    What failed while the machine stood still for longer than `LATE_SECONDS` is looked at again, twice at most.
    """
    verdicts: dict[str, Verdict] = {}
    for look in range(_LOOKS):
        again = [cell for cell in cells if cell.name not in verdicts or not verdicts[cell.name].passed]
        own = folder / f"look{look}"
        own.mkdir()
        late: list[float] = []
        watch = asyncio.create_task(_lateness(late))
        found = await _run_once(again, own)
        watch.cancel()
        verdicts |= {verdict.cell.name: verdict for verdict in found}
        if all(verdict.passed for verdict in found) or max(late, default=0.0) < LATE_SECONDS:
            break
    return [verdicts[cell.name] for cell in cells]


async def _lateness(late: list[float]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + 0.1
        await asyncio.sleep(0.1)
        late.append(loop.time() - due)


async def _run_once(cells: Sequence[Cell], folder: Path) -> list[Verdict]:
    """All faces at once."""
    dials = folder / "dials"
    outcomes: dict[str, Outcome] = {}
    server, network = FaultServer({cell.name: cell for cell in cells}), BrokenNetwork(cells)

    async def through(number: int, group: Sequence[Cell]) -> None:
        own = folder / str(number)
        own.mkdir()
        outcomes.update(await FACES[group[0].face](write_config(own, server.port, network.urls, group), group, dials))

    with watching(dials):
        async with server, network:
            await asyncio.gather(*(through(*one) for one in enumerate(groups(cells))))
    dialled = read(dials)
    for cell in cells:
        if cell.name in network.urls:
            server.tries[cell.name, PRIMARY] = network.tries(cell, dialled)
    tries = {cell.name: {where: server.tries[cell.name, where] for where in (PRIMARY, SPARE)} for cell in cells}
    return [judge(cell, outcomes[cell.name], tries[cell.name]) for cell in cells]


def groups(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that one client may take together: all of a face, but for those that need a fallback for all its calls.

    A batch rightly ends when its key is refused, or when nothing answers any more: what makes it end is taken alone.
    """
    grouped: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        alone = cell.face == "batch" and (401 in cell.fault.statuses or waits(cell))
        grouped.setdefault((cell.face, cell.name if alone else cell.fault.blame), []).append(cell)
    return list(grouped.values())


def waits(cell: Cell) -> bool:
    """A batch waits in this cell, for minutes: until the provider has room again, or is there again."""
    busy = cell.fault.blame == "network" or not _WAITED_FOR.isdisjoint(cell.fault.statuses)
    return cell.face == "batch" and cell.where == "everywhere" and busy


def main() -> int:
    """Run what was asked for; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make faults", description="Run the fault matrix.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help="only these, by name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every cell")
    chosen = parser.parse_args()
    cells = [cell for cell in matrix() if not chosen.faults or cell.fault.name in chosen.faults]
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        verdicts = runner.run(run(cells, Path(folder)))
    print(table(verdicts), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps([verdict.plain() for verdict in verdicts], indent=1) + "\n")
    return 0 if cells and all(verdict.passed for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
