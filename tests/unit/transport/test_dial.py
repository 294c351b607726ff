"""A connection by name: the first address that takes one, and nothing left behind by who stopped waiting."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Any

import pytest

from ai_client.transport.dial import dial
from tests.running import Run


class Names:
    """A loop whose names are these addresses."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self._addresses = addresses

    async def getaddrinfo(self, *_: object, **__: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in self._addresses]

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio.get_running_loop(), name)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_the_first_address_that_takes_a_connection(run: Run) -> None:
    async def scene() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            names: Any = Names(("127.0.0.1", closed_port()), server.getsockname())
            with await dial(names, "name", 1) as sock:
                assert sock.getpeername() == server.getsockname()

    run(scene())


def test_when_none_does_the_last_ones_refusal_is_told_in_the_systems_words(run: Run) -> None:
    async def scene() -> None:
        names: Any = Names(("127.0.0.1", closed_port()), ("127.0.0.1", closed_port()))
        with pytest.raises(ConnectionRefusedError) as caught:
            await dial(names, "name", 1)
        assert caught.value.strerror == "Connection refused"
        with pytest.raises(OSError, match="name has no address"):
            await dial(Names(), "name", 1)  # type: ignore[arg-type]

    run(scene())


def test_who_stops_waiting_for_a_name_leaves_no_error_behind(run: Run) -> None:
    async def scene() -> None:
        loop = asyncio.get_running_loop()
        complaints: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        task = asyncio.ensure_future(dial(loop, "nowhere.invalid", 1))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OSError, match=r"not known|resolution"):  # looked up after it, so its answer comes later
            await loop.getaddrinfo("nowhere.invalid", 2)
        gc.collect()
        assert complaints == []

    run(scene())
