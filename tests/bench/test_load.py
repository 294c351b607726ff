"""What wrk's own words come to, and the ratios that are made of them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from bench import load
from bench.contestant import Contestant
from bench.load import Load
from bench.parts.closed import _errors, _ratios


def wrk(folder: Path, said: str) -> str:
    """A program that says what wrk would say."""
    path = folder / "wrk"
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_report_is_read(tmp_path: Path) -> None:
    binary = wrk(tmp_path, "BENCH 30000 1500000 2 640 2500")
    found = load.run(binary, tmp_path, Contestant("direct", 1), 1.0)
    assert found == Load(requests_per_second=20_000.0, p50_ms=0.64, p99_ms=2.5, errors=2, cpu_us=0.0)
    assert "]==]" in (tmp_path / "chat.lua").read_text()


def test_no_report_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        load.run(wrk(tmp_path, "unable to connect"), tmp_path, Contestant("direct", 1), 1.0)


def loads(*cpu: float, errors: int = 0) -> list[Load]:
    return [Load(1000.0, 1.0, 2.0, errors, each) for each in cpu]


def test_ratios_are_of_rounds_that_took_turns() -> None:
    found = {"ours": loads(40.0, 90.0, 30.0), "floor": loads(10.0, 30.0, 15.0)}
    ratio = _ratios(found, "ours", "floor", "cpu_us")
    assert (ratio.lowest, ratio.median, ratio.highest) == (2.0, 3.0, 4.0)
    assert _ratios({"a": loads(1.0), "b": loads(0.0)}, "a", "b", "cpu_us").median > 1e8  # no division by nothing
    with pytest.raises(ValueError, match="shorter"):
        _ratios({"a": loads(1.0, 2.0), "b": loads(1.0)}, "a", "b", "cpu_us")


def test_errors_of_all_rounds_count() -> None:
    assert _errors({"a": loads(1.0, 1.0, errors=2), "b": loads(1.0)}) == 4
