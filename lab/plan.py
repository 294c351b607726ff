"""What a lab of N nodes consists of, and how it is told to ssh and Ansible. Nothing here touches the machine.

The addresses are from 198.18.0.0/15, which RFC 2544 sets aside for benchmarks: no real network has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUITES: Final = ("bookworm", "trixie")
"""Debian 12 with Python 3.11 and Debian 13 with Python 3.13, in turn."""
PYTHONS: Final = ("3.11", "3.13")
"""The Python of each suite."""
CONTROLLER: Final = "198.18.0.1"
"""The controller's own address in the lab."""
GROUP: Final = "ai_api_clients"
MOST_NODES: Final = 500

_NETWORK: Final = "198.18"
_JUMP: Final = "jump"
_PER_NET: Final = 250


class LabError(Exception):
    """The lab cannot be what was asked for. The message says what happened and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """A system of the lab: its name, address and Debian suite, and the name of its cable's near end."""

    name: str
    address: str
    suite: str
    cable: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A lab: the folder that it lives in, its nodes, and the host through which alone they are reached, if any."""

    folder: Path
    nodes: tuple[Node, ...]
    jump: Node | None

    @property
    def tag(self) -> str:
        """What the lab's namespaces and cgroups are called after: another in each folder, so labs run side by side."""
        return "lab" + hashlib.sha256(str(self.folder).encode()).hexdigest()[:6]

    @property
    def everyone(self) -> tuple[Node, ...]:
        """The nodes, and the jump host before them."""
        return (self.jump, *self.nodes) if self.jump else self.nodes

    def namespace(self, node: Node | None = None) -> str:
        """The network namespace of a node, or of the controller's side."""
        return f"{self.tag}-{node.name if node else 'controller'}"


def plan(folder: Path, count: int, suites: Sequence[str] = SUITES, *, jump: bool = False) -> Plan:
    """A lab of `count` nodes, node01 and on, whose suites take turns. Raises `LabError` for an impossible one."""
    if not 1 <= count <= MOST_NODES:
        raise LabError(f"a lab has 1 to {MOST_NODES} nodes, not {count}")
    unknown = [suite for suite in suites if suite not in SUITES]
    if unknown or not suites:
        raise LabError(f"unknown suites {', '.join(unknown) or '(none)'}: choose from {', '.join(SUITES)}")
    nodes = tuple(
        Node(f"node{number:02}", _address(number), suites[(number - 1) % len(suites)], f"to-{number}")
        for number in range(1, count + 1)
    )
    return Plan(folder, nodes, Node(_JUMP, f"{_NETWORK}.0.2", suites[0], "to-jump") if jump else None)


def _address(number: int) -> str:
    return f"{_NETWORK}.{1 + (number - 1) // _PER_NET}.{1 + (number - 1) % _PER_NET}"


def ssh_config(lab: Plan) -> str:
    """An OpenSSH client configuration by which the nodes' names and addresses are reached, with the lab's key.

    Host keys are checked: the lab made them, so it knows them.
    """
    lines = [
        "Host *",
        "  User root",
        f"  IdentityFile {lab.folder}/id",
        "  IdentitiesOnly yes",
        f"  UserKnownHostsFile {lab.folder}/known_hosts",
        "  StrictHostKeyChecking yes",
        "  LogLevel ERROR",
    ]
    for node in lab.everyone:
        lines += [f"Host {node.name} {node.address}", f"  HostName {node.address}", f"  HostKeyAlias {node.name}"]
        if lab.jump and node is not lab.jump:
            # Not ProxyJump: that would ask the user's own configuration, not this one, about the jump host.
            lines.append(f"  ProxyCommand ssh -F {lab.folder}/ssh_config -W {node.address}:22 {lab.jump.name}")
    return "\n".join(lines) + "\n"


def inventory_ini(lab: Plan) -> str:
    """An Ansible inventory in INI."""
    lines = [f"[{GROUP}]"]
    lines += [f"{node.name} ansible_host={node.address}" for node in lab.nodes]
    lines += ["", f"[{GROUP}:vars]"]
    lines += [f"{name}={value}" for name, value in _variables(lab)]
    return "\n".join(lines) + "\n"


def inventory_yaml(lab: Plan) -> str:
    """The same inventory in YAML."""
    lines = [f"{GROUP}:", "  hosts:"]
    lines += [f"    {node.name}:\n      ansible_host: {node.address}" for node in lab.nodes]
    lines.append("  vars:")
    lines += [f"    {name}: {value}" for name, value in _variables(lab)]
    return "\n".join(lines) + "\n"


def _variables(lab: Plan) -> Iterator[tuple[str, str]]:
    yield "ansible_user", "root"
    yield "ansible_python_interpreter", "/usr/bin/python3"
    yield "ansible_ssh_common_args", f"'-F {lab.folder}/ssh_config'"
    # Open connections are known by address alone, and every lab has the same: each keeps its own apart.
    yield "ansible_control_path_dir", f"{lab.folder}/connections"


def weather(delay_ms: float, loss_percent: float) -> list[str]:
    """The arguments of tc's netem for one direction of a cable, none for none. Raises `LabError` out of range."""
    if not (0 <= delay_ms <= 10_000 and 0 <= loss_percent <= 100):
        raise LabError("delay goes from 0 to 10000 ms and loss from 0 to 100 %")
    words = ["delay", f"{delay_ms:g}ms"] if delay_ms else []
    return words + (["loss", f"{loss_percent:g}%"] if loss_percent else [])
