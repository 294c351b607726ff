"""What a service and systemd say to one another: readiness, the watchdog, and sockets handed over.

The protocols are those of sd_notify(3), sd_listen_fds(3) and sd_watchdog_enabled(3); no library is needed for them.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping, MutableMapping
from typing import Final

from ai_client.errors import ConfigurationError

FIRST_FD: Final = 3
"""Descriptors handed over begin here: SD_LISTEN_FDS_START."""

_NOTIFY_SECONDS: Final = 1.0  # systemd reads at once; a stuck one must not hang the service


def notify(state: str, environ: Mapping[str, str]) -> bool:
    """Tell systemd `state`: lines like `READY=1`, `STATUS=…`, `WATCHDOG=1`, `STOPPING=1`.

    `RELOADING=1` wants a second line, `MONOTONIC_USEC=` and the monotonic clock in microseconds.
    Returns False when nobody asked to be told (no `NOTIFY_SOCKET`) or nobody took it; that is never an error.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):  # a name in Linux' abstract namespace
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_NOTIFY_SECONDS)
        with contextlib.suppress(OSError):
            return sock.sendto(state.encode(), address) > 0
    return False


def listen_fds(environ: MutableMapping[str, str], pid: int, *, first_fd: int = FIRST_FD) -> list[socket.socket]:
    """Take over the listening sockets that systemd opened for this process (`pid`), in the order of its unit file.

    They do not block and are not inherited by children. `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES` are removed
    from `environ`, so that no child takes them for its own. Returns an empty list when nothing was handed over.
    Raises `ConfigurationError` when the variables make no sense or a descriptor is not a listening stream socket.
    """
    asked_pid = environ.pop("LISTEN_PID", "")
    asked_count = environ.pop("LISTEN_FDS", "")
    names = environ.pop("LISTEN_FDNAMES", "").split(":")
    if asked_pid != str(pid):
        return []
    if not (asked_count.isascii() and asked_count.isdigit()):
        raise ConfigurationError([f"LISTEN_FDS={asked_count!r}: expected the number of sockets handed over"])
    sockets: list[socket.socket] = []
    problems: list[str] = []
    for index in range(int(asked_count)):
        name = names[index] if index < len(names) and names[index] else f"number {index + 1}"
        try:
            sockets.append(_take_over(first_fd + index))
        except OSError as error:
            problems.append(f"the socket {name} handed over by systemd (descriptor {first_fd + index}): {error}")
    if problems:
        for sock in sockets:
            sock.close()
        raise ConfigurationError(problems)
    return sockets


def _take_over(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=descriptor)
    if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise OSError("it is not a listening stream socket; use ListenStream= and Accept=no in the socket unit")
    sock.setblocking(False)
    sock.set_inheritable(False)
    return sock


def watchdog_interval_ns(environ: Mapping[str, str], pid: int) -> int | None:
    """How long, in nanoseconds, systemd waits for a `WATCHDOG=1` before it takes this process for hung.

    Say it twice as often. None when no watchdog is set for this process. Raises `ConfigurationError` when
    `WATCHDOG_USEC` is not a positive number.
    """
    asked = environ.get("WATCHDOG_USEC", "")
    if not asked or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not (asked.isascii() and asked.isdigit() and int(asked)):
        raise ConfigurationError([f"WATCHDOG_USEC={asked!r}: expected a positive number of microseconds"])
    return int(asked) * 1_000
