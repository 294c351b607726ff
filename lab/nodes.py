"""The nodes themselves: an overlay over the shared image, booted by systemd-nspawn in the node's network namespace."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from lab import network
from lab.machine import attempt, call
from lab.plan import LabError, Node, Plan

_CGROUPS: Final = Path("/sys/fs/cgroup")
_BOOT_S: Final = 120.0
_STOP_S: Final = 20.0
_START: Final = 'for group in {groups}; do echo $$ >"$group/cgroup.procs"; done; exec "$@"'


def folder(lab: Plan, node: Node) -> Path:
    """What a node has on disk: `upper` (its changes), `root` (what it sees), `console.log`, `pid`."""
    return lab.folder / "nodes" / node.name


def runs(lab: Plan, node: Node) -> bool:
    """Whether the node's systemd-nspawn is alive. The number alone is not trusted: another may have it by now."""
    return _process(lab, node) is not None


def boot(lab: Plan, node: Node, image: Path) -> None:
    """Start a node that does not run, as a fresh system. Returns before it is up. Raises `LabError`."""
    clear(lab, node)
    here = folder(lab, node)
    for part in ("upper", "work", "root"):
        (here / part).mkdir(parents=True)
    # volatile: nobody needs a node's files after a power cut, and syncing them takes a third of the time of an install
    layers = f"lowerdir={image},upperdir={here}/upper,workdir={here}/work,volatile"
    call("mount", "-t", "overlay", "overlay", "-o", layers, str(here / "root"))
    _introduce(lab, node, here / "root")
    network.connect(lab, node)
    command = (
        *("systemd-nspawn", "-q", "--boot", "--register=no", "--keep-unit", f"--directory={here}/root"),
        *(f"--machine={lab.tag}-{node.name}", f"--hostname={node.name}", "--resolv-conf=off", "--timezone=off"),
        f"--network-namespace-path=/run/netns/{lab.namespace(node)}",
    )
    groups = " ".join(str(group) for group in _groups(lab, node, make=True))
    with (here / "console.log").open("wb") as console:
        child = subprocess.Popen(
            ("sh", "-c", _START.format(groups=groups), "sh", *command),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (here / "pid").write_text(str(child.pid), "ascii")


def _introduce(lab: Plan, node: Node, root: Path) -> None:
    """Give the node its identity and the lab's key, and let the controller know the node's."""
    (root / "etc/hostname").write_text(f"{node.name}\n", "ascii")
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{node.address} {node.name}\n", "ascii")
    # An empty one would make this a first boot, on which systemd enables whatever its presets say.
    identity = hashlib.sha256(f"{lab.tag} {node.name}".encode()).hexdigest()[:32]
    (root / "etc/machine-id").write_text(f"{identity}\n", "ascii")
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(lab.folder / "id.pub", ssh / "authorized_keys")
    if lab.jump is node:
        shutil.copyfile(lab.folder / "ssh_config", ssh / "config")


def wait(lab: Plan, nodes: Iterable[Node]) -> None:
    """Return when every node's sshd greets. Raises `LabError` with the console's last lines of one that does not."""
    until = time.monotonic() + _BOOT_S
    for node in nodes:
        while not _greets(lab, node):
            if time.monotonic() > until or not runs(lab, node):
                said = (folder(lab, node) / "console.log").read_text("utf-8", "replace").splitlines()[-15:]
                raise LabError(f"{node.name} did not come up. Its console said last:\n" + "\n".join(said))
            time.sleep(0.1)


def _greets(lab: Plan, node: Node) -> bool:
    """Asks from the node's own namespace, so that a jump host or bad weather on the cable are no obstacle."""
    asked = "exec 3<>/dev/tcp/127.0.0.1/22; read -t 2 -u 3 line; [[ $line == SSH-* ]]"
    return attempt("ip", "netns", "exec", lab.namespace(node), "timeout", "3", "bash", "-c", asked)


def clear(lab: Plan, node: Node) -> None:
    """Stop a node and remove all that it had. Does nothing where there is nothing."""
    kill(lab, node)
    wait_gone(lab, node)
    here = folder(lab, node)
    attempt("umount", "--lazy", str(here / "root"))
    network.disconnect(lab, node)
    shutil.rmtree(here, ignore_errors=True)
    for group in _groups(lab, node):
        for path, _, _ in os.walk(group, topdown=False):
            Path(path).rmdir()
        with contextlib.suppress(OSError):  # not empty until the last node goes
            group.parent.rmdir()


def kill(lab: Plan, node: Node) -> None:
    """Pull the plug: the node's PID 1 dies, and the kernel ends all else in it. Returns at once."""
    process = _process(lab, node)
    if process is None:
        return
    children = Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()
    for number in [*map(int, children), *([] if children else [process])]:
        os.kill(number, signal.SIGKILL)


def processes(lab: Plan, node: Node) -> set[str]:
    """The numbers of all processes of a node, in its cgroup and below."""
    found: set[str] = set()
    for group in _groups(lab, node):
        for folder, _, _ in os.walk(group):
            with contextlib.suppress(OSError):  # a service that ends takes its group along, at any moment
                found.update((Path(folder) / "cgroup.procs").read_text("ascii").split())
    return found


def wait_gone(lab: Plan, node: Node) -> None:
    """Return when a node that was killed is gone. Raises `LabError` if it does not go."""
    until = time.monotonic() + _STOP_S
    while runs(lab, node):
        if time.monotonic() > until:
            raise LabError(f"{node.name} (process {_process(lab, node)}) does not end; look at `ps` and try again")
        time.sleep(0.05)


def _process(lab: Plan, node: Node) -> int | None:
    try:
        number = int((folder(lab, node) / "pid").read_text("ascii"))
        words = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return number if f"--machine={lab.tag}-{node.name}".encode() in words else None


def _groups(lab: Plan, node: Node, *, make: bool = False) -> Iterator[Path]:
    """The node's cgroup in each hierarchy that systemd uses here.

    Without one of its own, all nodes' systemds would manage one another's units.
    """
    old = [_CGROUPS / name for name in ("systemd", "unified") if (_CGROUPS / name).is_dir()]
    for hierarchy in old or [_CGROUPS]:
        group = hierarchy / lab.tag / node.name
        if make:
            group.mkdir(parents=True, exist_ok=True)
        if group.is_dir():
            yield group
