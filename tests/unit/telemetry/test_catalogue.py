"""The reference of metrics says what the catalogue says."""

from __future__ import annotations

import re
from pathlib import Path

from ai_client.telemetry.catalogue import BOUNDS_SECONDS, COUNTED, WATCHED, Family

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text("utf-8")


def row(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels)
    return f"| `{family.name}` | {family.kind.value} | {labels} | {family.help} |"


def test_the_reference_has_every_metric_and_no_other() -> None:
    rows = [line for line in REFERENCE.splitlines() if line.startswith("| `ai_client_")]
    assert rows == [row(family) for family in (*COUNTED, *WATCHED)]


def test_the_reference_has_the_bounds() -> None:
    assert ", ".join(f"{bound:g}" for bound in BOUNDS_SECONDS) in " ".join(REFERENCE.split())


def test_queries_name_metrics_that_exist() -> None:
    known = {family.name for family in (*COUNTED, *WATCHED)}
    named = {name.removesuffix("_bucket") for name in re.findall(r"ai_client_\w+", REFERENCE)}
    assert named <= known
