"""What the alert rules and the dashboard ask for is there to be asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ai_client.telemetry import catalogue
from ai_client.telemetry.catalogue import Kind
from ansible_collections.ai_client.fleet.plugins.plugin_utils import report
from tests.collection.variables import ROLES

_ROLE = ROLES / "monitoring"
_OTHERS = {
    "up": {"job", "node"},
    "node_textfile_mtime_seconds": {"file"},
    "process_resident_memory_bytes": {"job", "node"},
    "process_cpu_seconds_total": {"job", "node"},
}
"""Prometheus's own, node_exporter's, and those that the client's library of metrics tells of any process."""
_GIVEN = {"node", "job"}
"""Labels that come with the scrape."""
_WORDS = {
    *("sum", "by", "max", "min", "count", "rate", "increase", "histogram_quantile", "time", "bool", "or", "vector"),
    *("label_values",),
}


def metrics() -> dict[str, set[str]]:
    """Every metric that can be asked for, with its labels."""
    known = dict(_OTHERS)
    for family in (*catalogue.COUNTED, *catalogue.WATCHED):
        labels = {*family.labels, *_GIVEN}
        if family.kind is Kind.HISTOGRAM:
            known |= {f"{family.name}_bucket": {*labels, "le"}, f"{family.name}_sum": labels}
            known[f"{family.name}_count"] = labels
        else:
            known[family.name] = labels
    told = report.textfile(report.gather(["a"], {}))
    for name in re.findall(r"^# TYPE (\w+)", told, re.MULTILINE):
        known[name] = {"node"}
    return known


def alerts() -> Iterator[tuple[str, str]]:
    """The name and expression of every rule."""
    text = (_ROLE / "templates" / "rules.yml.j2").read_text("utf-8")
    for block in text.split("- alert: ")[1:]:
        name, rest = block.split("\n", 1)
        found = re.search(r"expr: (?:\|-\n)?(.*?)\n        (?:for|labels):", rest, re.DOTALL)
        assert found is not None, name
        yield name, re.sub(r"\{\{.*?\}\}", "1", found[1], flags=re.DOTALL)


def drawn() -> Iterator[tuple[str, str]]:
    """The title and expression of every query of the dashboard."""
    board = json.loads((_ROLE / "files" / "dashboard.json").read_text("utf-8"))
    for panel in board["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


def wrong(expression: str) -> list[str]:
    """What in an expression names something that does not exist."""
    known, found = metrics(), []
    bare = re.sub(r'"[^"]*"', '""', expression)
    found += [f"{pair} is not closed" for pair in ("()", "{}", "[]") if bare.count(pair[0]) != bare.count(pair[1])]
    for name, selector in re.findall(r"([a-z_][a-z0-9_]*)\{([^}]*)\}", bare):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selector))
        found += [f"{name} has no label {label}" for label in sorted(labels - known.get(name, labels))]
    grouped = {label for group in re.findall(r"by \(([^)]*)\)", bare) for label in re.findall(r"\w+", group)}
    plain = re.sub(r"by \([^)]*\)|\{[^}]*\}|\[[^]]*\]", " ", bare)
    if "label_values" in plain:
        plain = re.sub(r", \w+", "", plain)
    names = set(re.findall(r"[a-z_][a-z0-9_]*", plain)) - _WORDS
    found += [f"there is no metric {name}" for name in sorted(names - set(known))]
    reach = set().union(*(known[name] for name in names if name in known)) if names else set()
    return found + [f"nothing here has the label {label}" for label in sorted(grouped - reach)]


@pytest.mark.parametrize(("name", "expression"), list(alerts()))
def test_alerts_ask_for_what_there_is(name: str, expression: str) -> None:
    assert wrong(expression) == [], name


@pytest.mark.parametrize(("title", "expression"), list(drawn()))
def test_the_dashboard_asks_for_what_there_is(title: str, expression: str) -> None:
    assert wrong(expression) == [], title


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("ai_client_no_such_total > 0", "there is no metric ai_client_no_such_total"),
        ('ai_client_fleet_mode{node="a",mood="alone"} == 1', "ai_client_fleet_mode has no label mood"),
        ("sum by (colour) (ai_client_in_flight)", "nothing here has the label colour"),
        ("sum(rate(ai_client_request_duration_seconds[5m]))", "there is no metric ai_client_request_duration_seconds"),
        ("sum(ai_client_in_flight", "() is not closed"),
    ],
)
def test_what_does_not_exist_is_found(expression: str, said: str) -> None:
    assert said in wrong(expression)


def test_alerts_are_told_apart_and_say_what_to_do() -> None:
    names = [name for name, _ in alerts()]
    assert len(names) > 10
    assert len(set(names)) == len(names)
    text = (_ROLE / "templates" / "rules.yml.j2").read_text("utf-8")
    for word in ("summary: ", "description: ", "severity: "):
        assert text.count(word) == len(names)


def test_panels_do_not_lie_upon_one_another() -> None:
    board: dict[str, Any] = json.loads((_ROLE / "files" / "dashboard.json").read_text("utf-8"))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
