"""A second of signals at random to a real daemon and a real batch; and the judge, which has to find what is wrong."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path
from typing import Any

import pytest

from bench.processes import free_port
from endurance.chaos import Batch, Call, Daemon, Found, Load, blame, chaos, report
from endurance.wire import End
from tests.gateway import simulated
from tests.running import Run


def test_signals_at_random_lose_nothing_and_double_nothing(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scene() -> Found:
        async with simulated() as simulator:
            port = int(simulator.url.removesuffix("/v1").rpartition(":")[2])
            return await chaos(tmp_path, free_port(), port, 1.0, 40, random.Random(3))

    found = run(scene())
    assert report(found) == 0, capsys.readouterr().out
    assert found.load.calls
    assert found.daemon.starts


def answer(name: str, finish: str | None = "stop") -> dict[str, Any]:
    return {"custom_id": name, "response": {"body": {"choices": [{"finish_reason": finish}]}}}


def test_what_is_lost_doubled_or_cut_off_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    batch = Batch(tmp_path, tmp_path / "none.conf", 3)
    answers = [answer("line-0"), answer("line-0"), answer("line-1", None)]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(each) + "\n" for each in answers))
    assert [line.partition(" ")[2] for line in batch.wrong()] == [
        "was answered 2 times",
        "was not answered",
        "is recorded as answered, and is cut off",
    ]
    assert not batch.kill()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        daemon, load = Daemon(tmp_path / "none.conf", listener), Load(1, random.Random(1))
        daemon.kills.append((10.0, 12.0))
        load.calls += [
            Call(9.0, 10.5, End.LOST, False),
            Call(1.0, 2.0, End.LOST, True),
            Call(11.0, 13.0, End.LIE, False),
        ]
        apart, caught = blame(load.calls, daemon.kills)
        assert (apart, caught) == ({End.LOST: 1}, {End.LOST: 1, End.LIE: 1})
        daemon.odd.append("the daemon ended with exit code 3")
        assert report(Found({}, daemon, load, batch)) == 1
    told = capsys.readouterr().out
    for line in ("exit code 3", "1 calls were lost without a kill -9", "1 calls ended as a lie", "line-2 was not"):
        assert line in told
