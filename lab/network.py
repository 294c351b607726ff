"""The lab's network: a bridge in a namespace of its own, a cable to each node, and no way out of it.

The controller's side is a namespace as well, so nothing that the lab sends can leave the machine. It has the
controller's address; programs are put there by `lab run`.
"""

from __future__ import annotations

from pathlib import Path

from lab.machine import attempt, call
from lab.plan import CONTROLLER, LabError, Node, Plan, weather

_BRIDGE = "lab0"


def exists(lab: Plan) -> bool:
    """Whether the controller's side is there."""
    return (Path("/run/netns") / lab.namespace()).exists()


def build(lab: Plan) -> None:
    """Make the controller's side, unless it stands. With a jump host, ssh reaches only that one from there."""
    here = lab.namespace()
    if not exists(lab):
        call("ip", "netns", "add", here)
        call("ip", "-n", here, "link", "set", "lo", "up")
        call("ip", "-n", here, "link", "add", _BRIDGE, "type", "bridge")
        call("ip", "-n", here, "addr", "add", f"{CONTROLLER}/16", "dev", _BRIDGE)
        call("ip", "-n", here, "link", "set", _BRIDGE, "up")
    for node in lab.nodes:
        rule = ["to", node.address, "ipproto", "tcp", "dport", "22", "prohibit"]
        while attempt("ip", "-n", here, "rule", "del", *rule):
            pass
        if lab.jump:
            call("ip", "-n", here, "rule", "add", *rule)


def connect(lab: Plan, node: Node) -> None:
    """Lay the cable from the bridge to a node, whose namespace this makes anew."""
    here, there = lab.namespace(), lab.namespace(node)
    disconnect(lab, node)
    call("ip", "netns", "add", there)
    call("ip", "link", "add", node.cable, "netns", here, "type", "veth", "peer", "name", "eth0", "netns", there)
    call("ip", "-n", here, "link", "set", node.cable, "master", _BRIDGE, "up")
    call("ip", "-n", there, "addr", "add", f"{node.address}/16", "dev", "eth0")
    call("ip", "-n", there, "link", "set", "lo", "up")
    call("ip", "-n", there, "link", "set", "eth0", "up")


def disconnect(lab: Plan, node: Node) -> None:
    """Take away a node's namespace and its cable, if they are there."""
    attempt("ip", "-n", lab.namespace(), "link", "del", node.cable)
    attempt("ip", "netns", "del", lab.namespace(node))


def remove(lab: Plan) -> None:
    """Take away the controller's side."""
    attempt("ip", "netns", "del", lab.namespace())


def set_weather(lab: Plan, delay_ms: float, loss_percent: float) -> None:
    """Delay packets by `delay_ms` and lose `loss_percent` of them, both ways on every node's cable; 0 and 0: none."""
    words = weather(delay_ms, loss_percent)
    for node in lab.nodes:
        for namespace, device in ((lab.namespace(), node.cable), (lab.namespace(node), "eth0")):
            if words:
                try:
                    call("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "netem", *words)
                except LabError as error:
                    raise LabError(
                        f"{error}\nIf the kind is unknown, this kernel was built without CONFIG_NET_SCH_NETEM"
                    ) from None
            else:
                attempt("tc", "-n", namespace, "qdisc", "del", "dev", device, "root")
