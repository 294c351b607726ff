"""The wire between the members and Redis, that can be cut: a network namespace (Linux, root)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

from bench.peers import SkippedError

NAMESPACE = "ai-client-quota"
REDIS_HOST, JUDGE_HOST, INSIDE_HOST = "10.87.3.1", "10.87.3.2", "10.87.3.9"


@contextlib.contextmanager
def cut_off() -> Iterator[Callable[[bool], None]]:
    """A namespace that reaches this machine at two addresses; `cut(True)` takes Redis' from it.

    Raises SkippedError where there can be none.
    """
    if os.geteuid() != 0 or shutil.which("ip") is None:
        raise SkippedError("needs root and the program ip (iproute2), to make a network namespace")
    _ip("netns", "del", NAMESPACE, check=False)
    _ip("link", "del", "aiq0", check=False)
    try:
        _ip("netns", "add", NAMESPACE)
        _ip("link", "add", "aiq0", "type", "veth", "peer", "name", "aiq1", "netns", NAMESPACE)
    except subprocess.CalledProcessError as error:
        _ip("netns", "del", NAMESPACE, check=False)
        raise SkippedError(f"this machine makes no network namespace: {error}") from None
    try:
        for host in (REDIS_HOST, JUDGE_HOST):
            _ip("addr", "add", f"{host}/24", "dev", "aiq0")
        _ip("link", "set", "aiq0", "up")
        _ip("-n", NAMESPACE, "addr", "add", f"{INSIDE_HOST}/24", "dev", "aiq1")
        _ip("-n", NAMESPACE, "link", "set", "aiq1", "up")
        yield lambda cut: _ip("-n", NAMESPACE, "route", "add" if cut else "del", "blackhole", f"{REDIS_HOST}/32")
    finally:
        _ip("netns", "del", NAMESPACE, check=False)
        _ip("link", "del", "aiq0", check=False)


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, stderr=None if check else subprocess.DEVNULL)
