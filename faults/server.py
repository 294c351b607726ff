"""A provider that does to each call what its cell says, and remembers when it was tried."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Self

from faults.matrix import Cell
from faults.wire import PREFILL_REFUSED, End, Scene, chunk, refuse

PRIMARY = "primary"
SPARE = "spare"
"""The target that stands in, and the model that does where only another model can."""


class FaultServer:
    """Listens on loopback; the cell is named by the last message of a call, the target by the path."""

    def __init__(self, cells: Mapping[str, Cell]) -> None:
        self._cells = cells
        self._tasks: set[asyncio.Task[None]] = set()
        self.tries: dict[tuple[str, str], list[float]] = defaultdict(list)
        """When each (cell, `primary` or `spare`) was tried, in seconds of the loop's clock."""
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=1 << 20, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._answer(reader, writer):
                pass
        except (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left; uvloop has a RuntimeError for what is written to a closed handle
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; returns whether the connection goes on."""
        first, *fields = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        asked: dict[str, Any] = json.loads(await _body(fields, reader))
        *_, last = asked["messages"]
        begun = last["content"] if last["role"] == "assistant" else ""
        cell = self._cells[asked["messages"][-2 if begun else -1]["content"]]
        target = SPARE if first.startswith(b"post /spare/") else PRIMARY
        tries = self.tries[cell.name, target]
        tries.append(asyncio.get_running_loop().time())
        mid = cell.where == "middle"
        scene = Scene(cell.name, asked["model"], stream=bool(asked.get("stream")), mid=mid, begun=begun)
        if begun and cell.mode == "refused":
            steps = refuse(400, PREFILL_REFUSED)(scene)
        elif not _strikes(cell, target, len(tries)):
            steps = scene.sound()
        elif (
            cell.fault.act is None
        ):  # the network's faults are at addresses of their own; of the spare, only this is left
            steps = [End.RESET]
        else:
            steps = cell.fault.act(scene)
        for step in steps:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                await asyncio.sleep(0)
            elif isinstance(step, float):
                await asyncio.sleep(step)
            else:
                await _end(step, reader, writer)
                return False
        return True


async def _body(fields: list[bytes], reader: asyncio.StreamReader) -> bytes:
    """The body behind a head, by its length or in chunks: clients may choose."""
    for field in fields:
        if field.startswith(b"content-length:"):
            return await reader.readexactly(int(field[15:]))
    body = b""
    while size := int(await reader.readuntil(b"\r\n"), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readuntil(b"\r\n")
    return body


def _strikes(cell: Cell, target: str, number: int) -> bool:
    if target == SPARE:
        return cell.where == "everywhere"
    return cell.where != "once" or number == 1


async def _end(end: End, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if end is End.SILENCE:
        await reader.read()  # until the client gives up
    elif end is End.PINGS:
        while not writer.is_closing():
            writer.write(chunk(b": still here\n\n"))
            await writer.drain()
            await asyncio.sleep(0.5)
    elif end is End.RESET:
        await asyncio.sleep(0.05)  # a reset overtakes what was written just before it
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
