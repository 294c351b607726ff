"""Other commands of this program as processes of their own, stopped whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from ai_client.errors import AIClientError

# The path is handed on: a release runs with -I, and the child would not find it.
_PROGRAM: Final = f"import sys; sys.path = {sys.path!r}; from ai_client.cli.main import main; main()"
_GRACE_S: Final = 10.0
_LAST_LINES: Final = 20


class ChildError(AIClientError):
    """A process that we started did not do what it was started for."""

    code = "child_failed"


class Children:
    """An async context manager: leaving it ends every child, by SIGTERM, and when that takes too long by SIGKILL.

    Children are sessions of their own: ^C on the terminal reaches this process, which decides who ends when.
    """

    def __init__(self, environ: Mapping[str, str], grace: float = _GRACE_S) -> None:
        """`environ` is the children's environment; `grace` is what they may take to end, in seconds."""
        self._environ = dict(environ)
        self._grace = grace
        self._processes: list[Process] = []
        self._readers: list[asyncio.Task[None]] = []

    async def start(self, *arguments: str, stdout: int | None = None, stderr: int | None = None) -> Process:
        """Start `ai-client ARGUMENTS`; `stdout` and `stderr` as in `subprocess`: None means our own."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _PROGRAM,
            *arguments,
            stdin=DEVNULL,
            stdout=stdout,
            stderr=stderr,
            env=self._environ,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    async def announced(self, process: Process, stream: asyncio.StreamReader | None, begins: str) -> str:
        """What follows `begins` on the first line of `stream` that begins so; what comes later is read and dropped.

        Raises `ChildError`, with the last lines that came, when the stream ends before.
        """
        assert stream is not None
        said: deque[str] = deque(maxlen=_LAST_LINES)
        while line := await stream.readline():
            text = line.decode("utf-8", "replace").rstrip()
            if text.startswith(begins):
                self._readers.append(asyncio.create_task(_drain(stream)))
                return text.removeprefix(begins)
            said.append(text)
        code = await process.wait()
        raise ChildError("\n".join([f"a process that the demonstration needs ended with code {code}", *said]))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = asyncio.create_task(self._end())
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:  # whoever is in a hurry waits for this all the same
            await ending
            raise

    async def _end(self) -> None:
        for process in self._processes:
            send(process, signal.SIGTERM)
        for process in self._processes:
            try:
                async with asyncio.timeout(self._grace):
                    await process.wait()
            except TimeoutError:
                send(process, signal.SIGKILL)
                await process.wait()
        for reader in self._readers:
            reader.cancel()


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal, unless it is over."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Without what configures this program: a child's own configuration shall be all that counts."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("AI_CLIENT_") and name not in ("HOLYSHEEP_API_KEY", "CREDENTIALS_DIRECTORY")
    }


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass
