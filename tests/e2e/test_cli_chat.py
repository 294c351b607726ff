"""`ai-client chat` as a process: ^C, a terminal, and a reader that goes away."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ai_client.clock import SystemClock
from ai_client.simulator.app import start
from ai_client.simulator.settings import Settings
from tests.running import Run

PROGRAM = "from ai_client.cli.main import main; main()"


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[list[str]]:
    """The command line that asks a provider whose answers take minutes."""
    settings = Settings(latency_ms=0, token_ms=200, reply_tokens=2_000)
    async with await start(settings, SystemClock()) as running:
        conf = folder / "a.conf"
        conf.write_text(f"[api]\nprovider = p\napi_key = k\nbase_url = {running.url}\n[logging]\nlevel = ERROR\n")
        yield [sys.executable, "-c", PROGRAM, "chat", "--config", str(conf), "--direct"]


def test_an_interrupt_gives_the_answer_up(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as command:
            process = await asyncio.create_subprocess_exec(
                *command, "Tell me all.", stdin=DEVNULL, stdout=PIPE, stderr=PIPE
            )
            assert process.stdout is not None
            assert await process.stdout.readexactly(5)
            process.send_signal(signal.SIGINT)
            out, err = await process.communicate()
            assert process.returncode == 130
            assert out.endswith(b"\n")
            assert err == b""

    run(scene())


def test_a_reader_that_goes_away_ends_it(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as command:
            reading, writing = os.pipe()
            process = await asyncio.create_subprocess_exec(
                *command, "Tell me all.", stdin=DEVNULL, stdout=writing, stderr=PIPE
            )
            os.close(writing)
            os.close(reading)
            _, err = await process.communicate()
            assert process.returncode == 1
            assert b"Traceback" not in err

    run(scene())


def test_a_conversation_on_a_terminal(run: Run, tmp_path: Path) -> None:
    """An answer is stopped by ^C, and the conversation goes on to its /exit."""

    async def scene() -> None:
        async with provider(tmp_path) as command:
            ours, theirs = pty.openpty()
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
            os.close(theirs)
            seen = await until(ours, lambda seen: seen.endswith(b"> "))
            assert b"/exit or ^D ends the conversation" in seen
            os.write(ours, b"Tell me all.\n")
            await until(ours, lambda seen: bool(seen.partition(b"all.\r\n")[2]))
            process.send_signal(signal.SIGINT)
            assert b"(stopped)" in await until(ours, lambda seen: seen.endswith(b"> "))
            os.write(ours, b"/exit\n")
            assert await process.wait() == 0
            os.close(ours)

    run(scene())


async def until(descriptor: int, enough: Callable[[bytes], bool]) -> bytes:
    """What the terminal shows, until it is enough."""
    loop = asyncio.get_running_loop()
    seen = b""
    while not enough(seen):
        arrived = asyncio.Event()
        loop.add_reader(descriptor, arrived.set)
        await arrived.wait()
        loop.remove_reader(descriptor)
        seen += os.read(descriptor, 4096)
    return seen
