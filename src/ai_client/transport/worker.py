"""One task a connection: it awaits what the handlers hand back, one request after the other.

A task for each request would cost more than all the coroutines in it: asyncio names it, and keeps it in a weak set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ai_client.transport.exchange import Exchange


class Worker:
    """Rests on a future between two requests. `crashed` hears of what a handler let escape."""

    __slots__ = ("_called", "_crashed", "_due", "_loop", "_now", "_stopped", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop, crashed: Callable[[BaseException, Exchange], None]) -> None:
        self._loop = loop
        self._crashed = crashed
        self._due: list[tuple[Awaitable[None], Exchange]] = []
        self._now: Exchange | None = None  # whose handler is being awaited
        self._called: asyncio.Future[None] | None = None  # while it rests
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def take(self, outcome: Awaitable[None], exchange: Exchange) -> None:
        """Await `outcome`, after what was taken before it."""
        self._due.append((outcome, exchange))
        called = self._called
        if called is not None:
            self._called = None
            called.set_result(None)
        elif self._task is None:
            self._task = self._loop.create_task(self._work())

    def stop(self, exchange: Exchange | None) -> None:
        """The client is gone, while `exchange` was being answered: its handler is cancelled.

        A handler that has finished its answer goes on to its own end.
        """
        self._stopped = True
        for outcome, _ in self._due:
            close = getattr(outcome, "close", None)
            if close is not None:
                close()  # not begun, and now never will be: Python would complain of it
        self._due.clear()
        task, self._task = self._task, None
        if task is not None and (self._called is not None or exchange is self._now):
            task.cancel()

    def spare(self) -> None:
        """The handler that breaks its own connection off goes on."""
        if self._task is asyncio.current_task():
            self._task = None
            self._stopped = True

    async def _work(self) -> None:
        due = self._due
        while not self._stopped:
            if not due:
                self._called = self._loop.create_future()
                await self._called
                continue
            outcome, exchange = due.pop(0)
            self._now = exchange
            try:
                await outcome
            except asyncio.CancelledError:
                exchange.abort()  # harmless where the cancelling came from the client's leaving
                raise
            except Exception as error:  # noqa: BLE001  the edge: a defect must not take the connection's loop with it
                self._crashed(error, exchange)
            else:
                if not exchange.closed:
                    self._crashed(RuntimeError("the handler returned without finishing its answer"), exchange)
            self._now = None
