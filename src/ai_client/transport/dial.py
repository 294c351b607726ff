"""A TCP connection to a host by its name.

`loop.create_connection` would do this as well; but when a look-up outlasts its caller's patience, uvloop leaves it
behind, and its late failure is complained of on standard error as an exception that nobody came to fetch.
"""

from __future__ import annotations

import asyncio
import os
import socket


async def dial(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """A connected socket, to the first of the host's addresses that takes one. Raises OSError, the last address's."""
    failure: OSError | None = None
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock: socket.socket | None = None
        try:
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            await loop.sock_connect(sock, address)
        except BaseException as error:
            if sock is not None:
                sock.close()
            if not isinstance(error, OSError):
                raise
            # in the system's words alone: the address that the event loop adds is in the caller's message
            failure = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        else:
            return sock
    raise failure or OSError(f"{host} has no address")
