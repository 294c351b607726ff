"""systemd's protocols, spoken over real sockets."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_client.errors import ConfigurationError
from ai_client.transport.systemd import listen_fds, notify, watchdog_interval_ns

FIRST_FD = 200  # out of the way of what pytest has open


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        yield sock


def test_notify_reaches_a_socket_with_a_path(manager: socket.socket, tmp_path: Path) -> None:
    manager.bind(str(tmp_path / "notify"))
    assert notify("READY=1\nSTATUS=läuft", {"NOTIFY_SOCKET": str(tmp_path / "notify")})
    assert manager.recv(4096).decode() == "READY=1\nSTATUS=läuft"


def test_notify_reaches_an_abstract_socket(manager: socket.socket) -> None:
    manager.bind("")  # Linux picks a name in the abstract namespace
    name: bytes = manager.getsockname()
    assert notify("WATCHDOG=1", {"NOTIFY_SOCKET": "@" + name[1:].decode()})
    assert manager.recv(4096) == b"WATCHDOG=1"


def test_nobody_to_notify_is_no_error(tmp_path: Path) -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": ""})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "vsock:2:1234"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


@pytest.fixture
def handed_over() -> Iterator[list[tuple[str, int]]]:
    """Two listening sockets as descriptors FIRST_FD and FIRST_FD + 1, and a datagram socket as the third."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        for index, sock in enumerate((one, two, datagram)):
            os.dup2(sock.fileno(), FIRST_FD + index, inheritable=True)
        yield [one.getsockname(), two.getsockname()]
    for index in range(3):
        with contextlib.suppress(OSError):  # taken over and closed by the test
            os.close(FIRST_FD + index)


def test_sockets_are_taken_over_in_order(handed_over: list[tuple[str, int]]) -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:metrics", "HOME": "/"}
    sockets = listen_fds(environ, 77, first_fd=FIRST_FD)
    assert environ == {"HOME": "/"}
    assert [sock.getsockname() for sock in sockets] == handed_over
    for sock in sockets:
        assert not sock.getblocking()
        assert not sock.get_inheritable()
        sock.close()


def test_sockets_of_another_process_are_left_alone(handed_over: list[tuple[str, int]]) -> None:
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "2"}
    assert listen_fds(environ, 78, first_fd=FIRST_FD) == []
    assert environ == {}
    assert listen_fds({}, 78) == []
    os.fstat(FIRST_FD)


def test_a_count_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="LISTEN_FDS='two'"):
        listen_fds({"LISTEN_PID": "77", "LISTEN_FDS": "two"}, 77)


def test_what_does_not_listen_is_refused_by_name(handed_over: list[tuple[str, int]]) -> None:
    os.close(FIRST_FD + 1)
    environ = {"LISTEN_PID": "77", "LISTEN_FDS": "3", "LISTEN_FDNAMES": "http::audit"}
    with pytest.raises(ConfigurationError) as caught:
        listen_fds(environ, 77, first_fd=FIRST_FD)
    closed, datagram = caught.value.problems
    assert "number 2" in closed
    assert f"descriptor {FIRST_FD + 1}" in closed
    assert "audit" in datagram
    assert "ListenStream=" in datagram
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(FIRST_FD)  # the good one was closed too: nothing leaks


def test_a_process_started_as_systemd_does_it_serves_what_it_was_given() -> None:
    code = (
        "import os\n"
        "from ai_client.transport.systemd import listen_fds\n"
        "(sock,) = listen_fds(os.environ, os.getpid())\n"
        "sock.setblocking(True)\n"
        "connection, _ = sock.accept()\n"
        "connection.sendall(b'served')\n"
        "connection.close()\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handed = listener.fileno()
        script = f'exec 3<&{handed}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -c "$1"'
        with subprocess.Popen(["bash", "-c", script, sys.executable, code], pass_fds=[handed]) as child:
            with socket.create_connection(listener.getsockname(), timeout=20) as client:
                assert client.recv(100) == b"served"
            assert child.wait(20) == 0


def test_the_watchdog() -> None:
    assert watchdog_interval_ns({}, 77) is None
    assert watchdog_interval_ns({"WATCHDOG_USEC": "30000000"}, 77) == 30_000_000_000
    assert watchdog_interval_ns({"WATCHDOG_USEC": "500", "WATCHDOG_PID": "77"}, 77) == 500_000
    assert watchdog_interval_ns({"WATCHDOG_USEC": "500", "WATCHDOG_PID": "78"}, 77) is None


@pytest.mark.parametrize("value", ["soon", "0", "-5", "1.5"])
def test_a_watchdog_that_is_no_time_is_refused(value: str) -> None:
    with pytest.raises(ConfigurationError, match="WATCHDOG_USEC"):
        watchdog_interval_ns({"WATCHDOG_USEC": value}, 77)
