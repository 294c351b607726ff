"""What every part works with: the tools that were found, the running processes, how long to measure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench import nginx, ours
from bench.contestant import JSON_HEADERS, Contestant
from bench.peers import SkippedError
from bench.processes import LOAD_CORE, Processes, free_port, wait_until_answers

_INSTALL_SECONDS = 300


def find_tool(name: str) -> str | None:
    """The path of a program; installed first if it is missing, this is root and there is apt-get. None without.

    Program, Debian package and service have one name.
    """
    search = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
    found = shutil.which(name, path=search)
    apt = shutil.which("apt-get")
    if found or apt is None or os.geteuid() != 0:
        return found
    print(f"  installing {name} with apt-get", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for argv in ([apt, "update"], [apt, "install", "-y", "--no-install-recommends", name]):
        try:
            done = subprocess.run(argv, capture_output=True, env=environment, timeout=_INSTALL_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0:
            return None
    systemctl = shutil.which("systemctl")
    if systemctl is not None:  # Debian starts what it installs; nobody asked for a web server
        subprocess.run([systemctl, "disable", "--now", name], capture_output=True, check=False)
    return shutil.which(name, path=search)


@dataclass(frozen=True)
class Lab:
    """Handed to every part."""

    processes: Processes
    nginx: str | None
    wrk: str | None
    quick: bool
    peers: bool

    @property
    def folder(self) -> Path:
        """Where configurations and logs go; removed at the end."""
        return self.processes.folder

    def need_nginx(self) -> str:
        """nginx's path. Raises SkippedError."""
        if self.nginx is None:
            raise SkippedError("nginx is not installed (apt-get install nginx)")
        return self.nginx

    def need_wrk(self) -> str:
        """wrk's path. Raises SkippedError."""
        if self.wrk is None:
            raise SkippedError("wrk is not installed (apt-get install wrk)")
        return self.wrk

    def mock(self, *, core: int = LOAD_CORE) -> Contestant:
        """The upstream that answers at once: nginx."""
        return nginx.start_mock(self.processes, self.need_nginx(), core=core)

    def upstream(self, delay: float) -> Contestant:
        """The bench's own upstream: answers after `delay` seconds, streams 20 tokens a second."""
        port = free_port()
        argv = [sys.executable, "-m", "bench.upstream", "--port", str(port), "--delay", str(delay)]
        process = self.processes.start("upstream", argv, core=LOAD_CORE)
        wait_until_answers(process, port, JSON_HEADERS)
        return Contestant("direct", port)

    def daemon(self, target: Contestant) -> Contestant:
        """Our daemon in front of `target`."""
        return ours.start(self.processes, free_port(), target.port)

    def stop(self, *contestants: Contestant | None) -> None:
        """Stops those that have a process of their own."""
        for contestant in contestants:
            if contestant is not None and contestant.process is not None:
                self.processes.stop(contestant.process)
