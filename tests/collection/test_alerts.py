"""Each alert of the role `monitoring` comes when it should, and no other time: as Prometheus's own promtool reckons."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ai_client.telemetry import catalogue
from ai_client.telemetry.catalogue import Family
from ansible_collections.ai_client.fleet.plugins.plugin_utils import report
from tests.collection.programs import PROGRAMS, ROOT, ansible, need_ansible
from tests.collection.test_monitoring import alerts
from tests.collection.variables import ROLES, defaults

_SCRAPED = {"node": "node01", "job": "ai-client", "instance": "10.0.0.1:9090"}
_READ = {"job": "node", "instance": "monitor01:9100"}
"""What node_exporter tells has these, and the node that the report names."""
_REPORT_READ = 'node_textfile_mtime_seconds{file="/var/lib/prometheus/node-exporter/ai-client-drift.prom"}'

Series = dict[str, str]
"""Each with its values, one a minute, in promtool's short hand."""


class Story(NamedTuple):
    """What is told; the minute at which it is too early for the alert, and that at which it has come; and its words."""

    alert: str
    told: Series
    early: int
    late: int
    labels: Mapping[str, str]
    summary: str
    severity: str = "warning"


def written(name: str, labels: Mapping[str, str]) -> str:
    return f"{name}{{{','.join(f'{label}={json.dumps(value)}' for label, value in labels.items() if value)}}}"


def scraped(family: Family, suffix: str = "", node: str = "node01", le: str = "", **given: str) -> str:
    """A series of a daemon's metrics, with all the labels that it has there."""
    assert set(given) <= set(family.labels)
    labels = {**{name: given.get(name, "any") for name in family.labels}, **_SCRAPED, "node": node, "le": le}
    return written(family.name + suffix, labels)


def durations(share: Callable[[float], int]) -> Series:
    """A hundred calls a minute, so many of them within each bound."""
    name = catalogue.DURATION
    told = {scraped(name, "_bucket", le=str(bound)): f"0+{share(bound)}x180" for bound in catalogue.BOUNDS_SECONDS}
    return told | {scraped(name, "_bucket", le="+Inf"): "0+100x180", scraped(name, "_count"): "0+100x180"}


def looked(state: Mapping[str, Any]) -> Series:
    """What the drift playbook's report of a node says, as node_exporter tells it."""
    lines = report.textfile(report.gather(["node01"], {"node01": state})).splitlines()
    found = [re.fullmatch(r'(\w+)\{node="node01"\} (\d)', line) for line in lines if not line.startswith("#")]
    return {written(each[1], {"node": "node01", **_READ}): f"{each[2]}x180" for each in found if each is not None}


def is_up(values: str) -> Series:
    return {written("up", _SCRAPED): values}


def read(values: str) -> Series:
    return {_REPORT_READ.replace("}", f',job="{_READ["job"]}",instance="{_READ["instance"]}"}}'): values}


BY_NODE = {"node": "node01"}
STORIES = (
    Story("AIClientDown", is_up("1 0x10"), 2, 3, _SCRAPED, "node01 does not tell its metrics", "critical"),
    Story(
        "AIClientFailing",
        {
            scraped(catalogue.REQUESTS, status="200"): "0+90x20",
            scraped(catalogue.REQUESTS, status="502"): "0+6x20",
            scraped(catalogue.REQUESTS, status="503"): "0+4x20",
        },
        5,
        6,
        BY_NODE,
        "node01: 10% of its calls fail",
        "critical",
    ),
    Story(
        "AIClientSlow",
        durations(lambda bound: 98 if bound <= 60 else 100),
        10,
        11,
        BY_NODE,
        "node01: one call in a hundred takes 1m 30s or longer",
    ),
    Story(
        "AIClientQueueing",
        {
            scraped(catalogue.WAITING, limit="provider:p", priority="5"): "60x20",
            scraped(catalogue.WAITING, limit="provider:p", priority="1"): "41x20",
        },
        9,
        10,
        {**BY_NODE, "limit": "provider:p"},
        "node01: 101 calls wait for quota of provider:p",
    ),
    Story(
        "AIClientShedding",
        {scraped(catalogue.SHED, priority="1"): "0+1x20"},
        5,
        6,
        BY_NODE,
        "node01 refuses calls: it has as much work as it may hold",
    ),
    Story(
        "AIClientCircuitOpen",
        {scraped(catalogue.CIRCUIT, target="p/m"): "2x20"},
        4,
        5,
        {**BY_NODE, "target": "p/m"},
        "node01 sends nothing to p/m: its calls failed or were slow",
    ),
    Story(
        "AIClientKeyRefused",
        {scraped(catalogue.KEY_REFUSED, key="p.two"): "0 1x20"},
        2,
        3,
        {**BY_NODE, "key": "p.two"},
        "node01: the key p.two is refused",
    ),
    Story(
        "AIClientLimitsNotShared",
        {
            scraped(catalogue.FLEET_MODE, mode="shared"): "1 0x20",
            scraped(catalogue.FLEET_MODE, mode="alone"): "0 1x20",
        },
        2,
        3,
        {**BY_NODE, "mode": "alone"},
        "node01 cannot reach the store of the fleet's limits (alone)",
    ),
    Story(
        "AIClientBudgetNearlySpent",
        {
            scraped(catalogue.BUDGET, app="web"): "100x20",
            scraped(catalogue.BUDGET_SPENT, app="web"): "90 92x20",
            scraped(catalogue.BUDGET, app=""): "0x20",
            scraped(catalogue.BUDGET_SPENT, app=""): "90x20",
        },
        0,
        1,
        {**_SCRAPED, "app": "web"},
        "node01: 92% of the day's budget of web are spent",
    ),
    Story(
        "AIClientBudgetNearlySpent",
        {scraped(catalogue.BUDGET, app=""): "100x20", scraped(catalogue.BUDGET_SPENT, app=""): "90 95x20"},
        0,
        1,
        _SCRAPED,
        "node01: 95% of the day's budget are spent",
    ),
    Story(
        "AIClientCertificatesUnchecked",
        {scraped(catalogue.TLS_OFF): "1x20"},
        4,
        5,
        _SCRAPED,
        "node01 does not check certificates",
        "critical",
    ),
    Story(
        "AIClientConfigurationRefused",
        {scraped(catalogue.RELOADS, outcome="refused"): "0 0 1x20"},
        1,
        2,
        {**_SCRAPED, "outcome": "refused"},
        "node01 refused a configuration and goes on with the last good one",
    ),
    Story(
        "AIClientLogLost",
        {scraped(catalogue.LINES_DROPPED, log="audit"): "0 0 7x20"},
        1,
        2,
        {**BY_NODE, "log": "audit"},
        "node01 lost lines of audit",
    ),
    Story(
        "AIClientVersionsDiffer",
        {
            scraped(catalogue.BUILD, version="1.0.0", python="3.11"): "1x90",
            scraped(catalogue.BUILD, node="node02", version="1.1.0", python="3.11"): "1x90",
        },
        59,
        60,
        {},
        "2 versions run in the fleet",
        "info",
    ),
    Story(
        "AIClientDrifted",
        looked({"drift": ["edited", "mode"]}),
        -1,
        0,
        {**BY_NODE, **_READ},
        "node01: 2 things are not as the inventory says",
    ),
    Story(
        "AIClientNotLookedAt",
        looked({"unreachable": True}),
        -1,
        0,
        {**BY_NODE, **_READ},
        "node01 could not be looked at for drift",
    ),
    Story(
        "AIClientDriftReportOld",
        read("0x1800"),
        26 * 60,
        26 * 60 + 30,
        {**_READ, "file": _REPORT_READ.split('"')[1]},
        "nobody looked for drift for 1d 2h 30m 0s",
    ),
)

WELL: Series = {
    **is_up("1x180"),
    scraped(catalogue.REQUESTS, status="200"): "0+96x180",
    scraped(catalogue.REQUESTS, status="503"): "0+4x180",
    scraped(catalogue.REQUESTS, status="429"): "0+50x180",
    **durations(lambda bound: 98 if bound < 60 else 100),
    scraped(catalogue.WAITING, limit="provider:p", priority="5"): "100x180",
    scraped(catalogue.WAITING, limit="provider:q", priority="5"): "100x180",
    scraped(catalogue.SHED, priority="1"): "7x180",
    scraped(catalogue.CIRCUIT, target="p/m"): "1x180",
    scraped(catalogue.FLEET_MODE, mode="shared"): "1x180",
    scraped(catalogue.FLEET_MODE, mode="alone"): "0x180",
    scraped(catalogue.FLEET_MODE, mode="closed"): "0x180",
    scraped(catalogue.BUDGET, app="web"): "100x180",
    scraped(catalogue.BUDGET_SPENT, app="web"): "89x180",
    scraped(catalogue.TLS_OFF): "0x180",
    scraped(catalogue.RELOADS, outcome="refused"): "3x180",
    scraped(catalogue.RELOADS, outcome="applied"): "0+1x180",
    scraped(catalogue.LINES_DROPPED, log="audit"): "7x180",
    scraped(catalogue.BUILD, version="1.0.0", python="3.11"): "1x180",
    scraped(catalogue.BUILD, node="node02", version="1.0.0", python="3.13"): "1x180",
    **looked({"drift": []}),
    **read("0+60x180"),
}
"""As bad as can be without a word."""


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("there is no promtool on this machine: Debian has it in its package prometheus")
    return found


@pytest.fixture(scope="module")
def monitored(promtool: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the role has left what Prometheus reads."""
    need_ansible()
    folder = tmp_path_factory.mktemp("monitored")
    collections = folder / "collections" / "ansible_collections"
    collections.mkdir(parents=True)
    (collections / "ai_client").symlink_to(ROLES.parents[1])
    (folder / "hosts").write_text(
        "[ai_api_clients]\nnode01 ansible_host=10.0.0.1 ai_metrics_host=10.0.0.1\n[ai_monitoring]\n"
        f"here ansible_connection=local ansible_python_interpreter={PROGRAMS / 'python'}\n"
    )
    places = {"targets_file": "targets.json", "rules_file": "ai-client.yml", "dashboard_file": ""}
    given = {f"ai_monitoring_{name}": str(folder / file) if file else "" for name, file in places.items()}
    given |= {"ai_monitoring_promtool": promtool, "ansible_become": "false"}
    ansible(folder, "ansible-playbook", "ai_client.fleet.monitoring", "-i", "hosts", "-e", json.dumps(given))
    return folder


def check(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def reckon(promtool: str, folder: Path, told: Series, moments: list[dict[str, Any]]) -> None:
    """Have promtool play it. What it reads is YAML, of which JSON is a part."""
    series = [{"series": name, "values": values} for name, values in told.items()]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": moments}
    (folder / "test.yml").write_text(json.dumps({"rule_files": ["ai-client.yml"], "tests": [test]}))
    check(folder, promtool, "test", "rules", "test.yml")


@pytest.mark.parametrize("story", STORIES, ids=[f"{each.alert}-{place}" for place, each in enumerate(STORIES)])
def test_an_alert_comes_when_it_should(promtool: str, monitored: Path, story: Story) -> None:
    text = (monitored / "ai-client.yml").read_text("utf-8")
    described = re.search(rf'alert: {story.alert}\n.*?description: "(.*?)"\n', text, re.DOTALL)
    assert described is not None
    told = {
        "exp_labels": {**story.labels, "severity": story.severity},
        "exp_annotations": {"summary": story.summary, "description": described[1]},
    }
    moments: list[dict[str, Any]] = [{"eval_time": f"{story.late}m", "alertname": story.alert, "exp_alerts": [told]}]
    if story.early >= 0:
        moments.append({"eval_time": f"{story.early}m", "alertname": story.alert, "exp_alerts": []})
    reckon(promtool, monitored, story.told, moments)


def test_a_fleet_that_is_well_has_none(promtool: str, monitored: Path) -> None:
    names = [name for name, _ in alerts()]
    moments = [
        {"eval_time": f"{at}m", "alertname": name, "exp_alerts": []} for at in (0, 20, 90, 170) for name in names
    ]
    reckon(promtool, monitored, WELL, moments)


def test_every_alert_has_its_story() -> None:
    assert {each.alert for each in STORIES} == {name for name, _ in alerts()}
    assert _REPORT_READ.split('"')[1] == defaults("monitoring")["ai_monitoring_drift_textfile"]


def test_prometheus_takes_what_the_manual_says(promtool: str, monitored: Path) -> None:
    manual = (ROOT / "docs" / "how-to" / "fleet.md").read_text("utf-8")
    found = re.search(r"```yaml\n(# /etc/prometheus/prometheus.yml\n.*?)```", manual, re.DOTALL)
    assert found is not None
    places = re.sub(r"/etc/prometheus/(?:rules|ai-client)/", f"{monitored}/", found[1])
    assert places.count(str(monitored)) == 2
    (monitored / "prometheus.yml").write_text(places)
    check(monitored, promtool, "check", "config", "--lint=all", "prometheus.yml")
    check(monitored, promtool, "check", "rules", "--lint=all", "ai-client.yml")
