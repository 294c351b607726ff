"""Counts the connections that a client begins where no server can: at the edge between the client and its event loop.

`python -m faults.dials FILE ARGUMENT…` is `ai-client ARGUMENT…`, with each name that it looks up and each port that it
connects to written to a file, as it asks for them. Several processes may write to one.
"""

from __future__ import annotations

import os
import socket
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop


@contextmanager
def watching(path: Path) -> Iterator[None]:
    """Every loop of this process writes there what it is asked for."""
    look_up, connect = uvloop.Loop.getaddrinfo, uvloop.Loop.sock_connect
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(loop: uvloop.Loop, what: object) -> None:
        os.write(file, f"{loop.time()} {what}\n".encode())

    async def getaddrinfo(loop: uvloop.Loop, host: Any, port: Any, **options: Any) -> Any:
        note(loop, host)
        return await look_up(loop, host, port, **options)

    async def sock_connect(loop: uvloop.Loop, sock: socket.socket, address: Any) -> None:
        note(loop, address[1])
        await connect(loop, sock, address)

    # both are inherited: in front of them until they are taken away again
    uvloop.Loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign, assignment]
    uvloop.Loop.sock_connect = sock_connect  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del uvloop.Loop.getaddrinfo, uvloop.Loop.sock_connect
        os.close(file)


def read(path: Path) -> Mapping[str, list[float]]:
    """When each name was looked up, and each port connected to, in seconds of the machine's steady clock."""
    found: dict[str, list[float]] = defaultdict(list)
    for line in path.read_text().splitlines():
        at, what = line.split(" ")
        found[what].append(float(at))
    return found


def main() -> None:
    """Run the command; it ends as it does."""
    from ai_client.cli.main import main as command  # noqa: PLC0415  only the child needs it

    _, path, *arguments = sys.argv
    sys.argv = ["ai-client", *arguments]
    with watching(Path(path)):
        command()


if __name__ == "__main__":
    main()
