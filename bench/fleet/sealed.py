"""Without a way out: what is carried to the controller suffices, and no node has a route to anywhere else."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ai_client.bundle.fetch import fetch
from bench.fleet.fleet import ROOT
from bench.fleet.stages import Run, manifest
from bench.fleet.traffic import traffic
from lab.plan import PYTHONS

_WHEELS: Final = "wheelhouse"
_ELSEWHERE: Final = "192.0.2.1"
"""An address for documents (RFC 5737): nobody's, so the way there is that to everybody."""


def bundle(folder: Path, interpreters: Sequence[str]) -> Path:
    """A bundle of this program in `folder`, from a folder of wheels. Raises `AIClientError` and `RuntimeError`."""
    wheels, out = folder / _WHEELS, folder / "first"
    for python in PYTHONS:
        fetch(python, platform.machine(), wheels, None)
    words = [str(Path(sys.executable).with_name("ai-client")), "bundle", f"--out={out}", f"--wheels={wheels}"]
    words += [f"--python={python}" for python in PYTHONS]
    _without_network(folder, *words, *(f"--interpreter={path}" for path in interpreters))
    return out


def collection(folder: Path) -> Path:
    """The collection in `folder`, installed from the file that it is built into. Raises `RuntimeError`."""
    program, out = str(ROOT / ".venv-ansible" / "bin" / "ansible-galaxy"), folder / "collections"
    sources = ROOT / "ansible_collections" / "ai_client" / "fleet"
    _without_network(folder, program, "collection", "build", str(sources), f"--output-path={folder}")
    (built,) = folder.glob("ai_client-fleet-*.tar.gz")
    _without_network(folder, program, "collection", "install", str(built), "--offline", f"--collections-path={out}")
    return out


def _without_network(folder: Path, *words: str) -> None:
    """Run a command in a folder, away from this source tree's own settings."""
    # pip is told of no other place either: a folder of wheels may be named in its variables or its configuration
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment["PIP_CONFIG_FILE"] = os.devnull
    sealed = ["unshare", "--net", *words]
    done = subprocess.run(sealed, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words[:3])} failed without a network: {(done.stderr or done.stdout)[-500:]}")


def no_way_out(run: Run) -> None:
    """What was built without a network runs on nodes without a route, and every one answers a caller."""
    wheels = len(list((run.fleet.folder / _WHEELS).glob("*.whl")))
    found = run.fleet.on_all(f"ip route get {_ELSEWHERE} 2>/dev/null || true")
    routes = [node for node, route in found.items() if route]
    with traffic(run.fleet, run.rate) as met:
        pass
    figure = f"{len(manifest(run.first).releases)} releases of {wheels} wheels, built without a network; "
    figure += f"{len(routes)} nodes with a route out; {met.told}"
    run.say("without a way out", figure, "no route, 0 failed", met=not routes and met.sound and run.all_run(run.first))
