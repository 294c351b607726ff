"""Starts what a bench needs, reads what it costs from /proc, and stops all of it at the end."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench import workload

PROXY_CORE, LOAD_CORE = 0, 1
"""The contestant has a core of its own; load and upstream share the other one."""

_TICK = os.sysconf("SC_CLK_TCK")
_STOP_SECONDS = 5.0


def pinned(core: int | None, argv: Sequence[str]) -> list[str]:
    """`argv` on one core; unchanged for None, or on a machine of one core."""
    cores = sorted(os.sched_getaffinity(0))
    if core is None or len(cores) < 2:
        return list(argv)
    return ["taskset", "-c", str(cores[core]), *argv]


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def allow_many_files() -> None:
    """Raises the soft limit on open files to the hard one: a proxy of 1,000 callers holds above 2,000."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _stat_fields(pid: int) -> list[str]:
    # The name, in brackets, may hold spaces: the fixed fields begin behind the last bracket.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


class NotReadyError(RuntimeError):
    """A process did not answer in time, or ended; says where its output is."""


@dataclass(frozen=True)
class Process:
    """A started program and its children: one session, hence one process group to measure and to stop."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> list[int]:
        """The living processes of the session."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if int(_stat_fields(int(entry.name))[3]) == self.popen.pid:
                        found.append(int(entry.name))
        return found

    def cpu_seconds(self) -> float:
        """User and system time used so far by all of them."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = _stat_fields(pid)
                ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICK

    def memory_mb(self, *, peak: bool = False) -> float:
        """Resident memory of all of them, now or at its highest, in MB (10^6 bytes)."""
        key = "VmHWM:" if peak else "VmRSS:"
        kilobytes = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith(key):
                        kilobytes += int(line.split()[1])
        return kilobytes * 1024 / 1e6

    def stop(self) -> None:
        """Asks the whole group to end, then ends it."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.popen.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(_STOP_SECONDS)
                if not self.pids():
                    return


@contextlib.contextmanager
def contained(argv: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A silent program in `folder`; at the end of the block it is killed, and all that it started, in whatever session.

    Needs root: it is the first process of a PID namespace, and the kernel ends all others there with that one.
    """
    words = ("unshare", "--pid", "--fork", "--kill-child", *argv)
    quiet = subprocess.DEVNULL
    popen = subprocess.Popen(
        words, cwd=folder, env=environment, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
    )
    try:
        yield popen
    finally:
        popen.kill()
        popen.wait()


class Processes:
    """All that was started; leaving the `with` block stops it, also after ^C."""

    def __init__(self, folder: Path) -> None:
        """`folder` takes the logs, a file for each process."""
        self.folder = folder
        self._running: list[Process] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        # A second ^C must not leave anything behind.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.stop_all()
        signal.signal(signal.SIGINT, previous)

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        core: int | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Starts `argv` in a session of its own, its output in a log."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as output:
            popen = subprocess.Popen(
                pinned(core, argv),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self._running.append(process)
        return process

    @contextlib.contextmanager
    def running(self, process: Process) -> Iterator[Process]:
        """Stops `process` at the end of the block, not only at the end of everything."""
        try:
            yield process
        finally:
            self.stop(process)

    def stop(self, process: Process) -> None:
        """Stops one of them now."""
        process.stop()
        self._running.remove(process)

    def stop_all(self) -> None:
        """Stops what still runs, the last one first."""
        while self._running:
            self.stop(self._running[-1])

    def cpu_seconds(self) -> float:
        """All CPU time of the bench so far: its own, its programs', living or ended."""
        own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return own + sum(process.cpu_seconds() for process in self._running)


def machine_cpu_seconds() -> float:
    """CPU time of the whole machine so far that was not idle, in seconds of one core."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICK


class Neighbours:
    """How busy others kept the machine while something was measured: what a figure's noise is judged by."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._at = time.monotonic()
        self._others = machine_cpu_seconds() - processes.cpu_seconds()

    def cores(self) -> float:
        """Cores used by others, on average, since this was made."""
        others = machine_cpu_seconds() - self._processes.cpu_seconds() - self._others
        return max(0.0, others / max(time.monotonic() - self._at, 1e-3))


def ask(port: int, headers: Mapping[str, str], body: bytes, timeout: float = 30.0) -> tuple[int, bytes]:
    """One chat request; the status and the body of its answer. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("POST", workload.PATH, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def wait_until_answers(
    process: Process, port: int, headers: Mapping[str, str], *, seconds: float = 30.0, pause: float = 0.1
) -> None:
    """Returns when a chat request got its 200. Raises NotReadyError after `seconds`, or if the process ended."""
    body = workload.request_body()
    deadline = time.monotonic() + seconds
    last = "nothing answered"
    while time.monotonic() < deadline and process.popen.poll() is None:
        try:
            status, content = ask(port, headers, body)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        else:
            if status == 200:
                return
            last = f"status {status}: {content[:200]!r}"
        time.sleep(pause)
    tail = process.log.read_text(errors="replace")[-1500:]
    raise NotReadyError(f"{process.name} is not ready ({last}); the end of its log:\n{tail}")
