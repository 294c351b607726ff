"""`ai-client demo`: what it asks before it spends, and what it does when the daemon is gone. A run: tests/e2e."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from ai_client.cli.demo import Stage, _agree, _metrics
from ai_client.cli.demo_results import Question
from ai_client.clock import SystemClock
from tests.running import Run
from tests.unit.cli.stage import Stage as Scene


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """One question for the real provider, whose model has no price."""
    environ = {"HOLYSHEEP_API_KEY": "hs_a", "AI_CLIENT_ROUTING__MODERATE": "new", "AI_CLIENT_API__MODELS": "*"}
    (tmp_path / "ai-client.conf").write_text("")
    book = {"a": Question("a", "How many apples are left?", "1")}
    return Stage(tmp_path, tmp_path / "q", book, environ, real=True, clock=SystemClock())


class Terminal:
    """Stands for a terminal on standard input."""

    def isatty(self) -> bool:
        return True


def test_it_asks_before_real_money_is_spent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    answers = ["n", "y"]
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: answers.pop(0))
    with pytest.raises(click.Abort):
        _agree(stage, yes=False)
    _agree(stage, yes=False)
    _agree(stage, yes=True)
    told = capsys.readouterr().err
    assert "1 questions go to https://api.holysheep.ai/v1, about 30 tokens in and 200 out (assumed). " in told
    assert "They will cost about $0.0000, besides what new costs, whose price is not known." in told
    assert not answers


def test_a_daemon_that_is_gone_gives_no_figures(run: Run, stage: Stage, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        address = scene.address
    assert run(_metrics(stage, address)) is None
