"""`python3 -m lab`: boot, use and remove a lab. Its folder is $LAB, by default `.lab`; each folder is another lab."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import images, machine, network, nodes
from lab.plan import SUITES, LabError, Plan, inventory_ini, inventory_yaml, plan, ssh_config

_INSTANCES = 8192


def main(words: list[str] | None = None) -> int:
    """Do what the command line says. Exit codes: 1 where the lab cannot be had, 2 for a command line that is wrong."""
    given = _parser().parse_args(words)
    folder = Path(os.environ.get("LAB") or ".lab").resolve()
    try:
        if given.command == "up":
            up(plan(folder, given.nodes, given.suites.split(","), jump=given.jump))
        elif given.command == "down":
            down(folder)
        elif given.command == "images":
            machine.require()
            for suite in SUITES:
                sys.stdout.write(f"{images.image(suite)}\n")
        else:
            _use(given, recall(folder))
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    return 0


def _use(given: argparse.Namespace, lab: Plan) -> None:
    if given.command == "inventory":
        sys.stdout.write(inventory_yaml(lab) if given.yaml else inventory_ini(lab))
    elif given.command == "netem":
        machine.require()
        network.set_weather(lab, given.delay, given.loss)
    elif given.command == "run":
        machine.replace(["ip", "netns", "exec", lab.namespace(), *given.words])
    else:
        words = ["ssh", "-F", f"{lab.folder}/ssh_config", given.node, *given.words]
        machine.replace(["ip", "netns", "exec", lab.namespace(), *words])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Real nodes on one machine; $LAB is the lab's folder.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="boot what is missing of N nodes")
    starting.add_argument("-n", "--nodes", type=int, default=2)
    starting.add_argument("--suites", default=",".join(SUITES), help="whose turn it is, node after node")
    starting.add_argument("--jump", action="store_true", help="let ssh reach the nodes through a jump host only")
    commands.add_parser("down", help="stop and remove everything of this lab")
    commands.add_parser("images", help="build the base images and print where they are")
    printing = commands.add_parser("inventory", help="print an Ansible inventory")
    printing.add_argument("--yaml", action="store_true")
    disturbing = commands.add_parser("netem", help="delay and lose packets, both ways on every node's cable")
    disturbing.add_argument("--delay", type=float, default=0, metavar="MS")
    disturbing.add_argument("--loss", type=float, default=0, metavar="PERCENT")
    running = commands.add_parser("run", help="run a command on the controller's side of the network")
    running.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    entering = commands.add_parser("ssh", help="run a command on a node, or a shell")
    entering.add_argument("node")
    entering.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND ...")
    return parser


def up(lab: Plan) -> None:
    """Boot what is missing of a lab, stop what is too much. What this call began is taken back if any of it fails."""
    machine.require()
    with _alone(lab.folder):
        _prepare(lab)
        known = recall(lab.folder) if (lab.folder / "lab.json").exists() else None
        for node in known.everyone if known else ():
            if node not in lab.everyone:
                nodes.clear(lab, node)
        (lab.folder / "lab.json").write_text(
            json.dumps(
                {
                    "nodes": len(lab.nodes),
                    "suites": list(dict.fromkeys(node.suite for node in lab.nodes)),
                    "jump": bool(lab.jump),
                }
            )
        )
        missing = [node for node in lab.everyone if not nodes.runs(lab, node)]
        bases = {suite: images.image(suite) for suite in sorted({node.suite for node in missing})}
        try:
            network.build(lab)
            for node in missing:
                nodes.boot(lab, node, bases[node.suite])
            nodes.wait(lab, missing)
        except BaseException:
            for node in missing:
                nodes.kill(lab, node)
            for node in missing:
                nodes.clear(lab, node)
            raise


def _prepare(lab: Plan) -> None:
    if not (lab.folder / "id").exists():
        machine.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.tag, "-f", str(lab.folder / "id"))
    (lab.folder / "ssh_config").write_text(ssh_config(lab), "ascii")
    # All nodes of a suite have the host key that came with its image.
    keys = {node.suite: images.image(node.suite) / "etc/ssh/ssh_host_ed25519_key.pub" for node in lab.everyone}
    told = [f"{node.name} {keys[node.suite].read_text('ascii').strip()}\n" for node in lab.everyone]
    (lab.folder / "known_hosts").write_text("".join(told), "ascii")
    # Each systemd holds several inotify instances; the usual 128 for root last for 25 nodes.
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    if int(limit.read_text("ascii")) < _INSTANCES:
        limit.write_text(str(_INSTANCES), "ascii")


def down(folder: Path) -> None:
    """Stop and remove a lab, also half of one. Does nothing where there is none."""
    if not (folder / "lab.json").exists():
        return
    machine.require()
    with _alone(folder):
        lab = recall(folder)
        for node in lab.everyone:
            nodes.kill(lab, node)
        for node in lab.everyone:
            nodes.clear(lab, node)
        network.remove(lab)
    shutil.rmtree(folder)


def recall(folder: Path) -> Plan:
    """The lab that was booted in this folder. Raises `LabError` where there is none."""
    try:
        kept = json.loads((folder / "lab.json").read_bytes())
    except OSError:
        raise LabError(
            f"there is no lab in {folder}: boot one with `make lab N=4`, or name its folder: LAB=..."
        ) from None
    return plan(folder, kept["nodes"], kept["suites"], jump=kept["jump"])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Only one command at a time changes a lab."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
