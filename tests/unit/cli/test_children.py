"""Child processes: announced or explained, and always ended."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, Process

import pytest

from ai_client.cli import children
from ai_client.cli.children import ChildError, Children, clean_environment, send
from tests.running import Run

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"


def test_what_configures_this_program_is_left_out() -> None:
    environ = {"AI_CLIENT_CONFIG": "a", "HOLYSHEEP_API_KEY": "b", "CREDENTIALS_DIRECTORY": "c", "PATH": "d"}
    assert clean_environment(environ) == {"PATH": "d"}


def test_a_child_that_ends_before_it_is_ready_is_explained(run: Run) -> None:
    async def scene() -> None:
        async with Children(os.environ) as family:
            child = await family.start("simulate", "--rpm", "-1", "--listen", "127.0.0.1:0", stdout=PIPE, stderr=PIPE)
            await family.announced(child, child.stderr, "never")

    with pytest.raises(ChildError, match=r"ended with code 2\n.*rpm is -1"):
        run(scene())


def test_leaving_ends_them(run: Run) -> None:
    async def scene() -> tuple[Process, str]:
        async with Children(os.environ) as family:
            child = await family.start("simulate", "--listen", "127.0.0.1:0", stdout=PIPE)
            return child, await family.announced(child, child.stdout, "listening on ")

    child, url = run(scene())
    assert url.startswith("http://127.0.0.1:")
    assert child.returncode == 0
    send(child, signal.SIGTERM)  # harmless: it is over


def test_one_that_does_not_end_is_killed_and_a_cancellation_waits_for_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_PROGRAM", STUBBORN)
    leaving = asyncio.Event()
    found: list[Process] = []

    async def inside() -> None:
        async with Children(os.environ, grace=0.1) as family:
            child = await family.start(stdout=PIPE)
            found.append(child)
            await family.announced(child, child.stdout, "ready")
            leaving.set()

    async def scene() -> None:
        task = asyncio.create_task(inside())
        await leaving.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(scene())
    assert found[0].returncode == -signal.SIGKILL
