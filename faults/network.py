"""Addresses at which there is no connection to be had, one for each cell."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping
from typing import Final, Self

from faults.matrix import Cell

_FILLERS: Final = 2


class BrokenNetwork:
    """Refuses, is silent, speaks no TLS, or has no name, as each cell of the network's asks for."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        self._cells = [cell for cell in cells if cell.fault.blame == "network"]
        self._sockets: list[socket.socket] = []
        self._servers: list[asyncio.Server] = []
        self.urls: dict[str, str] = {}
        """By the cell's name."""
        self._marks: dict[str, str] = {}
        self._accepted: dict[str, list[float]] = {}

    async def __aenter__(self) -> Self:
        for cell in self._cells:
            name = cell.fault.name
            mark = f"{cell.name}.invalid" if name == "no such host" else str(await self._port(cell))
            scheme = "https" if name == "not TLS" else "http"
            self._marks[cell.name] = mark
            self.urls[cell.name] = f"{scheme}://127.0.0.1:{mark}/v1" if mark.isdigit() else f"{scheme}://{mark}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            server.close()
        for one in self._sockets:
            one.close()

    def tries(self, cell: Cell, dials: Mapping[str, list[float]]) -> list[float]:
        """When the cell was tried: as its listener saw it where there is one, otherwise by what the client dialled."""
        return self._accepted[cell.name] if cell.name in self._accepted else dials[self._marks[cell.name]]

    async def _port(self, cell: Cell) -> int:
        one = socket.socket()
        self._sockets.append(one)
        one.bind(("127.0.0.1", 0))  # bound and not listening: it refuses, and nobody else gets the port
        if cell.fault.name == "not TLS":
            await self._listen(one, cell)
        elif cell.fault.name == "black hole":
            self._fill(one)
        return int(one.getsockname()[1])

    async def _listen(self, listener: socket.socket, cell: Cell) -> None:
        accepted = self._accepted[cell.name] = []

        async def in_plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.append(asyncio.get_running_loop().time())
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            writer.close()

        self._servers.append(await asyncio.start_server(in_plain, sock=listener))

    def _fill(self, listener: socket.socket) -> None:
        """Its queue is full, so that further connections are not answered."""
        listener.listen(0)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            self._sockets.append(filler)
