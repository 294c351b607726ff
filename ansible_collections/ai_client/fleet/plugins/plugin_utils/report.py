"""The report of a look at the fleet: for people, for programs, for Prometheus."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def gather(hosts: Sequence[str], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What was found on every host. One without a result, or that could not be looked at, is not clean."""
    nodes: dict[str, dict[str, Any]] = {}
    for host in hosts:
        told = results.get(host) or {"unreachable": True, "msg": "nothing was heard of it"}
        if told.get("unreachable"):
            nodes[host] = {"state": "unreachable", "drift": [], "reason": str(told.get("msg", "")).strip()}
        elif told.get("failed"):
            nodes[host] = {"state": "failed", "drift": [], "reason": str(told.get("msg", "")).strip()}
        else:
            drift = list(told.get("drift", []))
            nodes[host] = {"state": "drifted" if drift else "clean", "drift": drift, "reason": ""}
    states = [each["state"] for each in nodes.values()]
    return {
        "clean": all(state == "clean" for state in states),
        "counts": {state: states.count(state) for state in ("clean", "drifted", "failed", "unreachable")},
        "nodes": nodes,
    }


def sentences(report: Mapping[str, Any]) -> list[str]:
    """A line for each thing found."""
    lines = []
    for host, node in report["nodes"].items():
        if node["state"] in ("failed", "unreachable"):
            lines.append(f"{host}: {node['state']}: {node['reason']}")
        lines += [f"{host}: {each['kind']}: {each['what']}" for each in node["drift"]]
    return lines


def textfile(report: Mapping[str, Any]) -> str:
    """The report for node_exporter's textfile collector."""
    lines = [
        "# HELP ai_client_drift Things on a node that are not as its inventory says.",
        "# TYPE ai_client_drift gauge",
        *(f'ai_client_drift{{node="{host}"}} {len(node["drift"])}' for host, node in report["nodes"].items()),
        "# HELP ai_client_drift_looked Whether the node could be looked at.",
        "# TYPE ai_client_drift_looked gauge",
        *(
            f'ai_client_drift_looked{{node="{host}"}} {int(node["state"] in ("clean", "drifted"))}'
            for host, node in report["nodes"].items()
        ),
    ]
    return "\n".join(lines) + "\n"


def together(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of all nodes. Percentiles cannot be added up: each is told of the middle node and of the worst one."""
    figures = {host: told["figures"] for host, told in results.items() if told.get("figures")}
    percentiles = {}
    for name in ("p50", "p95", "p99", "max"):
        times = sorted(float((each.get("latency_ms") or {}).get(name) or 0) for each in figures.values())
        if times:
            percentiles[name] = {"middle_node": times[len(times) // 2], "worst_node": times[-1]}
    rates = [each["hit_rate"] for each in figures.values()]
    return {
        "nodes": len(figures),
        "requests": sum(int(each["requests"]) for each in figures.values()),
        "failed": sum(int(each["failed"]) for each in figures.values()),
        "latency_ms": percentiles,
        "hit_rate": round(sum(rates) / len(rates), 4) if rates else 0.0,
        "connections": max((each["connections"] for each in figures.values()), default=0),
        "missed": [f"{host}: {words}" for host, told in results.items() for words in told.get("missed", [])],
    }


def write(path: str, text: str) -> None:
    """Whole or not at all: Prometheus may read it at any moment."""
    beside = Path(f"{path}.new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
