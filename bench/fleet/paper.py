"""What a larger fleet would take, worked out from what was measured here: no machine of ours holds 500 nodes."""

from __future__ import annotations

import os

from bench.fleet.fleet import Play
from bench.fleet.stages import DEPLOY, Run, manifest

_NODES = 500
_WIRE_MB_S = 117.0
"""What a gigabit a second carries."""
_BATCHES = 3
"""The usual `ai_rollout`: one node, a fifth, the rest."""


def paper(run: Run) -> None:
    """One node alone tells what a batch takes at least; all of them, what each costs the controller."""
    alone = ["--limit", run.fleet.names[0]]
    if run.deployed is None or run.repeated is None:
        return
    run.fleet.play("ai_client.fleet.uninstall", run.first, alone)
    first = run.fleet.play(DEPLOY, run.first, alone)
    second = run.fleet.play(DEPLOY, run.first, alone)
    sent = max(part.bytes for part in manifest(run.first).releases) / 1e6
    run.say(f"first deploy of {_NODES} nodes, on paper", worked(run.deployed, first, len(run.fleet.names), sent))
    run.say(f"second run on {_NODES} nodes, on paper", worked(run.repeated, second, len(run.fleet.names), 0.0))


def worked(all_of_them: Play, alone: Play, count: int, sent_mb: float) -> str:
    """The seconds for `_NODES` nodes and their working; `count` nodes were measured, each was sent `sent_mb`."""
    cores = os.cpu_count() or 1
    each = (all_of_them.cpu.controller - alone.cpu.controller) / max(1, count - 1)
    seconds = _BATCHES * alone.seconds + _NODES * each / cores + _NODES * sent_mb / _WIRE_MB_S
    wire = f" + {_NODES} × {sent_mb:.1f} MB / {_WIRE_MB_S:.0f} MB/s" if sent_mb else ""
    return (
        f"{_BATCHES} batches × {alone.seconds:.1f} s (one node alone) + {_NODES} × {each:.2f} s of the controller's CPU"
        f" / {cores} cores{wire} = {seconds:.0f} s; a node spends {all_of_them.cpu.nodes / count:.2f} s of its own CPU"
    )
