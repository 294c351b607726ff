"""A Redis server of the tests' own, on a Unix socket or a free port, with nothing kept on disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

VALKEY = shutil.which("valkey-server")
PROGRAM = os.environ.get("REDIS_SERVER") or shutil.which("redis-server") or VALKEY


def need_redis() -> None:
    """Skip where there is no server on a laptop; in CI there has to be one."""
    if PROGRAM is None:
        if os.environ.get("CI"):
            pytest.fail("there is no redis-server: make setup installs it as root, so something is wrong here")
        pytest.skip("there is no redis-server on this machine: apt-get install redis-server")


def free_port() -> int:
    """A TCP port that was free a moment ago: Redis itself cannot be asked for any."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def free_cluster_port() -> int:
    """One that has its bus free as well: that is 10,000 above, and before Redis 7 nowhere else."""
    while (port := free_port()) > 55_535 or not _free(port + 10_000):
        pass
    return port


def _free(port: int) -> bool:
    with socket.socket() as sock, contextlib.suppress(OSError):
        sock.bind(("127.0.0.1", port))
        return True
    return False


def need_tls(folder: Path) -> None:
    """Skip with a server that was built without TLS, as those are that come in a wheel; in CI it has to have it."""
    need_redis()
    try:
        with RedisServer(folder, "--tls-port", "0"):
            pass
    except RuntimeError:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{PROGRAM} was built without TLS")


class RedisServer:
    """Starts with the block, answers when it begins, dies with it. `kill` and `start` in between are a crash."""

    def __init__(
        self, folder: Path, *options: str, port: int = 0, config: Path | None = None, program: str | None = PROGRAM
    ) -> None:
        """Without a port it listens on a socket in `folder` only; a configuration says all that."""
        self._program = program
        self.socket = folder / "redis.sock"
        self.port = port
        self._options = options
        self._folder = folder
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0" if self.port else f"unix://{self.socket}"

    def start(self) -> None:
        assert self._program is not None
        where = ["--port", str(self.port), "--unixsocket", str(self.socket), "--bind", "127.0.0.1"]
        command = [
            self._program,
            *where,
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(self._folder),
            *self._options,
        ]
        if self._config is not None:
            command = [self._program, str(self._config), *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        said = ""
        for line in self._process.stdout:
            if b"eady to accept connections" in line or b"Sentinel ID is" in line:
                return
            said += line.decode()
        self.kill()
        raise RuntimeError(f"{self._program} did not start:\n{said}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
