"""The lab's command line, as far as it needs no machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.__main__ import main


def test_without_a_lab_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB", str(tmp_path / "none"))
    assert main(["inventory"]) == 1
    assert "make lab N=4" in capsys.readouterr().err
    assert main(["down"]) == 0


def test_without_root_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAB", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["up"]) == 1
    assert "needs root: run it with sudo" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_inventory_is_of_the_lab_that_was_booted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lab.json").write_text('{"nodes": 3, "suites": ["trixie"], "jump": false}', "ascii")
    monkeypatch.setenv("LAB", str(tmp_path))
    assert main(["inventory", "--yaml"]) == 0
    assert capsys.readouterr().out.count("ansible_host") == 3
