"""`ai-client demo` as `make run` calls it, with a few questions: what it shows, leaves, asks, and how it stops."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

import pytest

from ai_client.clock import SystemClock
from ai_client.simulator.app import start
from ai_client.simulator.settings import Settings
from tests.running import Run

PROGRAM = "from ai_client.cli.main import main; main()"
QUESTIONS = Path(__file__).parents[2] / "data" / "prompts" / "gsm8k_questions.jsonl"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """The first six questions."""
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(QUESTIONS.read_text("utf-8").splitlines(keepends=True)[:6]), "utf-8")
    return path


async def demo(folder: Path, *arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run it in `folder`: exit code, standard output, standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "demo", *arguments,
        cwd=folder, env={**os.environ, **environ}, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def test_it_shows_what_came_of_it_and_leaves_it_in_a_folder(run: Run, tmp_path: Path, questions: Path) -> None:
    code, out, err = run(demo(tmp_path, "--questions", str(questions)))
    assert code == 0, err
    (folder,) = (tmp_path / "results").iterdir()
    assert "answered    6 of 6\n" in out
    assert "claude-sonnet-4.5" in out
    assert f"results     results/{folder.name}: " in out
    assert "6 questions, through the daemon at 127.0.0.1:" in err
    left = {path.name for path in folder.iterdir()}
    assert {"answers.jsonl", "report.html", "summary.json", "ledger.sqlite", "logs", "ai-client.conf"} <= left
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    assert all("####" in answer["response"]["body"]["choices"][0]["message"]["content"] for answer in answers)
    spent = sum(model["cost_usd"] for model in json.loads((folder / "summary.json").read_text())["models"].values())
    booked = run(costs(folder))
    assert booked["calls"] == 6  # by the daemon, and by nobody else
    assert booked["cost_usd"] == pytest.approx(spent)
    # the same again goes on where that stopped: at its end
    code, out, err = run(demo(tmp_path, "--questions", str(questions), "--out", str(folder)))
    assert code == 0, err
    assert "answered    6 of 6, 6 of them before" in out


async def costs(folder: Path) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, "costs", "--json", "--config", str(folder / "ai-client.conf"), stdout=PIPE
    )
    out, _ = await process.communicate()
    total: dict[str, float] = json.loads(out)["total"]
    return total


def test_with_a_key_the_real_provider_is_asked_after_consent(run: Run, tmp_path: Path, questions: Path) -> None:
    async def scene() -> None:
        async with await start(Settings(profile="zero", keys=("hs_real",)), SystemClock()) as provider:
            environ = {"HOLYSHEEP_API_KEY": "hs_real", "AI_CLIENT_API__BASE_URL": provider.url}
            asked = ("--questions", str(questions), "--out", str(tmp_path / "out"))
            code, out, err = await demo(tmp_path, *asked, **environ)
            assert (code, out) == (1, "")
            assert f"6 questions go to {provider.url}, about " in err
            assert "They will cost about $0.0" in err
            assert "say --yes, or unset the key" in err
            assert provider.stats()["requests"] == 0
            environ["AI_CLIENT_MONITORING__ENABLE_METRICS"] = "no"
            code, out, err = await demo(tmp_path, *asked, "--yes", **environ)
            assert code == 0, err
            assert "daemon      gives no figures of its own" in out
            assert "answered    6 of 6" in out
            assert "to the real provider." in err
            assert "hs_real" not in (tmp_path / "out" / "ai-client.conf").read_text()

    run(scene())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_and_all_that_it_started(
    run: Run, tmp_path: Path, questions: Path, number: signal.Signals
) -> None:
    async def scene() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, "demo", "--questions", str(questions), "--out", "out",
            cwd=tmp_path, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        begun = await process.stderr.readline()
        while number == signal.SIGINT and b"answered into" not in begun:
            begun = await process.stderr.readline()
        process.send_signal(number)
        _, err = await process.communicate()
        assert process.returncode == 128 + number
        assert b"To go on: ai-client demo --out out" in err
        (simulator,) = (
            line.split()[2] for line in (tmp_path / "out" / "ai-client.conf").read_text().splitlines() if "http" in line
        )
        host, port = simulator.removeprefix("http://").removesuffix("/v1").split(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))

    run(scene())


@pytest.mark.parametrize(
    ("text", "said"), [(None, "run this in the project's folder"), ("", "no questions"), ("{}", "not JSON lines")]
)
def test_questions_that_cannot_be_used(run: Run, tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "q").write_text(text)
    code, _, err = run(demo(tmp_path, "--questions", "q"))
    assert (code, said in err) == (1, True)


def test_a_folder_that_cannot_be_made_is_said_so(run: Run, tmp_path: Path, questions: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run(demo(tmp_path, "--questions", str(questions), "--out", "file/x"))
    assert (code, "Not a directory" in err) == (1, True)


def test_a_batch_that_cannot_begin_is_the_end(run: Run, tmp_path: Path, questions: Path) -> None:
    (tmp_path / "out" / "answers.jsonl").mkdir(parents=True)
    code, out, err = run(demo(tmp_path, "--questions", str(questions), "--out", "out"))
    assert (code, out) == (2, "")
    assert "answers.jsonl cannot be written" in err
