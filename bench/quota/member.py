"""Members: each a process with the whole pipeline in it, that asks as it is told and counts what became of it.

Fifty interpreters would take a minute to start on two cores. So one imports everything, and the members are its forks:
`python -m bench.quota.member` reads a list of them from its first line, says `ready`, and begins when it is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import random
import sys
import time
from collections import Counter
from multiprocessing.connection import Connection
from typing import Any

import uvloop

from ai_client import AsyncAIClient
from ai_client.config.snapshot import App
from ai_client.errors import AIClientError, UpstreamStatusError
from ai_client.model.request import Endpoint
from ai_client.service import Ask
from bench.quota.scene import PROMPT, REPLY_TOKENS
from bench.statistics import percentile
from bench.workload import MODEL

_LOOK_SECONDS = 0.05


class Member:
    """The client, and what became of its calls."""

    def __init__(self, client: AsyncAIClient, told: dict[str, Any]) -> None:
        self._client = client
        self._told = told
        self._begin = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.errors: Counter[str] = Counter()
        self.answered: dict[str, list[tuple[float, float]]] = {}
        self.lags: list[float] = []
        self.start_cpu = 0.0

    async def live(self, begin: float) -> None:
        """Ask from then on, until the time is over."""
        self._begin = begin
        self.start_cpu = time.process_time()
        watch = asyncio.create_task(self._watch())
        asking = [asyncio.create_task(self._app(place, app)) for place, app in enumerate(self._told["apps"])]
        if self._told["arrivals"]:
            asking.append(asyncio.create_task(self._trace()))
        await asyncio.sleep(max(0.0, begin + self._told["seconds"] - time.time()))
        for task in (watch, *asking, *self._tasks):
            task.cancel()
        await asyncio.gather(watch, *asking, *self._tasks, return_exceptions=True)

    def summary(self) -> dict[str, Any]:
        """For the one who started it."""
        fleet = self._client._shared.quota.fleet  # noqa: SLF001  the bench looks inside
        return {
            "sent": self.sent,
            "errors": self.errors,
            "answered": self.answered,
            "lag_p99": percentile(self.lags, 99),
            "lag_most": max(self.lags, default=0.0),
            "start_cpu": self.start_cpu,
            "trips": fleet.trips if fleet is not None else 0,
        }

    async def _watch(self) -> None:
        """How late this event loop is: if the machine is too small for its members, it shows here."""
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._begin - time.time()))
        while True:
            due = loop.time() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            self.lags.append(loop.time() - due)

    async def _app(self, place: int, told: dict[str, Any]) -> None:
        """Calls at random moments, so many a second; the same moments in each round."""
        app, begin = App(name=told["name"]), self._begin + told["begin"]
        while True:
            rng, at = random.Random(self._told["seed"] * 10 + place), 0.0
            while (at := at + rng.expovariate(told["rate"])) < told["round"]:
                await asyncio.sleep(max(0.0, begin + at - time.time()))
                self._start(app, PROMPT, REPLY_TOKENS)
            begin += told["round"]
            await asyncio.sleep(max(0.0, begin - time.time()))  # a round may be without any

    async def _trace(self) -> None:
        for at, context, generated in self._told["arrivals"]:
            await asyncio.sleep(max(0.0, self._begin + at - time.time()))
            chars = context * 4
            self._start(App(name="trace"), ("word " * (chars // 5 + 1))[:chars], generated)

    def _start(self, app: App, prompt: str, bound: int) -> None:
        task = asyncio.create_task(self._call(app, prompt, bound))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, app: App, prompt: str, bound: int) -> None:
        self.sent += 1
        wanted = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": bound}
        body = json.dumps(wanted).encode()
        asked = time.time()
        ask = Ask(Endpoint.CHAT, timeout=self._told["patience"])
        service = self._client._service  # noqa: SLF001  a library's app is always the same; here there are several
        try:
            await service.answer(ask, body, app, service.record(ask, body, app))
        except UpstreamStatusError as error:
            self.errors[f"status {error.status}"] += 1
        except AIClientError as error:
            self.errors[type(error).__name__] += 1
        else:
            self.answered.setdefault(app.name, []).append((asked - self._begin, time.time() - asked))


async def _live(told: dict[str, Any], wire: Connection) -> dict[str, Any]:
    async with AsyncAIClient() as client:
        member = Member(client, told)
        wire.send("ready")
        await member.live(await asyncio.get_running_loop().run_in_executor(None, wire.recv))
        return member.summary()


def _member(environment: dict[str, str], told: dict[str, Any], wire: Connection) -> None:
    os.environ.update(environment)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        wire.send(runner.run(_live(told, wire)))


def main() -> None:
    """Fork the members, begin them all at one moment, and print what they counted."""
    context = multiprocessing.get_context("fork")
    wires: list[Connection] = []
    gc.freeze()
    for each in json.loads(sys.stdin.readline()):
        ours, theirs = context.Pipe()
        context.Process(target=_member, args=(each["environment"], each["told"], theirs), daemon=True).start()
        theirs.close()
        wires.append(ours)
    for wire in wires:
        wire.recv()
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    for wire in wires:
        wire.send(begin)
    found = []
    for wire in wires:
        with contextlib.suppress(EOFError):  # it ended before its time: its line is missing, and that is told
            found.append(wire.recv())
    print(json.dumps(found))


if __name__ == "__main__":
    main()
