"""Mixed traffic by the clock: whole answers and streams, repeats and novelties, and callers who leave at any moment."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import msgspec

from endurance.wire import Callers, End

MODELS = ("gpt-4.1", "deepseek-v3.2", "claude-sonnet-4.5")
_REPEATED, _STREAMED, _LEAVING = 0.2, 0.4, 0.1
_FEW = 200
"""Questions that are asked again and again."""
_LEAVE_WITHIN = 0.6
"""Seconds."""
_MADE_UP = 1.0
"""Seconds of delay that are made up for."""


class Traffic:
    """So many calls a second, whatever becomes of them; `ends` counts what did."""

    def __init__(self, host: str, port: int, rate: float, rng: random.Random) -> None:
        self.callers = Callers(host, port)
        self._host = f"{host}:{port}"
        self._interval = 1 / rate
        self._rng = rng
        self._calls: set[asyncio.Task[None]] = set()
        self._number = 0
        self.ends: Counter[End] = Counter()
        self.late = 0.0
        """Seconds by which this side fell behind at its worst."""
        self.skipped = 0
        """Calls that were not made since this side had no processor for them."""

    async def run(self, seconds: float) -> None:
        """Send for so long, then wait for what is under way."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        due = begun
        while due < begun + seconds:
            if (ahead := due - loop.time()) > 0:
                await asyncio.sleep(ahead)
            late = loop.time() - due
            self.late = max(self.late, late)
            if late > _MADE_UP:  # all of them at once would be a crowd that nobody sent
                self.skipped += int(late / self._interval)
                due += int(late / self._interval) * self._interval
                continue
            task = loop.create_task(self._call())
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
            due += self._interval
        while self._calls:
            await asyncio.wait(self._calls)
        self.callers.close()

    async def _call(self) -> None:
        rng = self._rng
        stream = rng.random() < _STREAMED
        request = self.request(stream=stream)
        leaves = rng.random() * _LEAVE_WITHIN if rng.random() < _LEAVING else None
        try:
            async with asyncio.timeout(leaves):
                end = await self.callers.ask(request, stream=stream)
        except TimeoutError:
            end = End.CANCELLED
        except OSError:
            end = End.LOST
        self.ends[end] += 1

    def request(self, *, stream: bool) -> bytes:
        """The bytes of one request."""
        rng = self._rng
        self._number += 1
        asked = rng.randrange(_FEW) if rng.random() < _REPEATED else _FEW + self._number
        question = {
            "model": MODELS[asked % len(MODELS)],
            "messages": [{"role": "user", "content": f"Question {asked}: how many clips did she sell in all?"}],
            "max_tokens": 24,
            "temperature": 0,
            "stream": stream,
        }
        body = msgspec.json.encode(question)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        return f"{head}x-priority: {rng.randint(1, 10)}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
