"""`make cancellations`: calls given up at every point of their way, 100,000 of them; is anything left behind?

The whole pipeline in this process, all stages on, over a real pool to a real server that is slow, ill and rude by
chance. After every few thousand the caller looks whether all is back: places, reservations, budgets, connections,
descriptors, tasks; and in the end whether every circuit closes again, which it does not when a probe was lost.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from ai_client.build import build
from ai_client.config.load import load
from ai_client.errors import AIClientError
from ai_client.lasting import Shared, open_daemon
from ai_client.model.record import Record
from ai_client.model.request import Endpoint
from ai_client.service import LOCAL_APP, Ask, Service
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server

UNDER_WAY: Final = 64
MODELS: Final = ("gpt-4.1", "deepseek-v3.2")
POINTS: Final[Mapping[str, str]] = {
    "Gate.reserve": "waiting for quota",
    "Limited._left_alone": "waiting for quota",
    "Cached._wait_for": "waiting for an equal call",
    "Pool._wait": "waiting for a connection",
    "Pool._open": "connecting",
    "EventStream.open": "before a stream's first content",
    "EventStream.__anext__": "in the middle of a stream",
    "Pool.request": "before the first byte",
    "Retried.__call__": "waiting for a retry",
    "Storm._call": "before it began, or at its end",
}
"""By the innermost of these coroutines that a call was in when it was given up."""
FALLBACK: Final = "of these, in a later try or at a fallback"
_CONFIG = """
[api]
provider = near
base_url = {url}
api_key = hs_one
models = {models}
timeout = 3
connection_pool_size = 22
max_retries = 2
[key second]
api_key = hs_two
[models]
default = gpt-4.1
fallback = deepseek-v3.2
[performance]
read_timeout = 0.2
total_timeout = 5
max_concurrent_requests = 26
[limits]
requests_per_minute = 0
tokens_per_minute = 0
[limit all]
scope = provider
requests = 2000/second
[routing]
retry_base_delay = 0.03
[guard]
min_calls = 60
failure_percent = 60
open_seconds = 0.1
max_open_seconds = 0.2
window_seconds = 1
retry_percent = 100
retry_floor = 1000000
[hedge]
enabled = yes
percentile = 80
min_samples = 20
budget_percent = 50
other_models = yes
[caching]
memory_mb = 1
persistent = no
[costs]
ledger = none
budget_usd_per_day = 1000000
[logging]
destination = file
log_dir = {folder}
level = ERROR
[monitoring]
enable_metrics = no
"""


_JSON: Final = ((b"content-type", b"application/json"),)
_EVENTS: Final = ((b"content-type", b"text/event-stream"),)
_REFUSAL: Final = b'{"error":{"message":"no","type":"server_error","param":null,"code":"x"}}'
_WHOLE: Final = (
    b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":4,"completion_tokens":1,"total_tokens":5}}'
)
_WORD: Final = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
_END: Final = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'


class Provider:
    """Does with each request what chance says; `well` makes it a good one."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.well = False

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer some time soon, badly, or never."""
        luck = 0.0 if self.well else self._rng.random()
        if luck <= 0.97:
            delay = 0.0 if self.well else self._rng.random() * 0.02
            Answer(exchange, luck, delay, self._rng.choice((429, 500, 503))).soon(b'"stream":true' in request.body)


class Answer:
    """One answer that is due, unless its caller leaves before."""

    def __init__(self, exchange: Exchange, luck: float, delay: float, refusal: int) -> None:
        self._exchange = exchange
        self._luck = luck
        self._delay = delay
        self._refusal = refusal
        self._due: asyncio.TimerHandle | None = None
        exchange.on_disconnect(self._left)

    def soon(self, stream: bool) -> None:
        """Give it after the delay."""
        self._due = asyncio.get_running_loop().call_later(self._delay, self._begin, stream)

    def _left(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _begin(self, stream: bool) -> None:
        exchange = self._exchange
        if self._luck > 0.92:
            exchange.abort()
        elif self._luck > 0.72:
            exchange.send(self._refusal, _JSON, _REFUSAL)
        elif stream:
            exchange.start(200, _EVENTS)
            self._tell(4)
        else:
            exchange.send(200, _JSON, _WHOLE)

    def _tell(self, left: int) -> None:
        if self._luck > 0.66 and left == 2:
            self._exchange.abort()
        elif left:
            self._exchange.write(_WORD)
            self._due = asyncio.get_running_loop().call_later(self._delay, self._tell, left - 1)
        else:
            self._exchange.write(_END)
            self._exchange.end()


class Storm:
    """Calls without end, most of them given up at a moment of chance's choosing. `struck` counts those by where."""

    def __init__(self, service: Service, rng: random.Random) -> None:
        self._service = service
        self._rng = rng
        self._number = 0
        self.struck: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.later = 0
        """Those of them that were in a later try, be it at a fallback."""
        self.hedged = 0
        """Calls that were asked twice."""
        self._records: dict[asyncio.Task[None], Record] = {}

    async def blow(self, cancellations: int) -> None:
        """Until so many were given up; returns when nothing is under way."""
        loop = asyncio.get_running_loop()
        target = self.struck.total() + cancellations
        running: set[asyncio.Task[None]] = set()
        while self.struck.total() < target:
            task = loop.create_task(self._call())
            running.add(task)
            task.add_done_callback(running.discard)
            if self._rng.random() < 0.9:
                self._give_up(task)
            if len(running) >= UNDER_WAY:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        if running:
            await asyncio.wait(running)

    def _give_up(self, task: asyncio.Task[None]) -> None:
        loop = asyncio.get_running_loop()
        if self._rng.random() < 0.2:  # so many turns of the loop from now
            turns = self._rng.randrange(10)

            def turn(left: int) -> None:
                if left:
                    loop.call_soon(turn, left - 1)
                else:
                    self._strike(task)

            loop.call_soon(turn, turns)
        else:
            loop.call_later(self._rng.random() ** 3 * 0.4, self._strike, task)

    def _strike(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            self.struck[where(task)] += 1
            record = self._records.get(task)
            self.later += record is not None and record.attempts > 1
            task.cancel()

    async def _call(self) -> None:
        rng = self._rng
        self._number += 1
        stream = rng.random() < 0.4
        number = rng.randrange(1000) * 1000 if rng.random() < 0.9 else self._number // 50
        question = {"model": rng.choice(MODELS), "messages": [{"role": "user", "content": f"{number}"}], "seed": number}
        body = msgspec.json.encode({**question, "stream": stream, "temperature": 0})
        ask = Ask(Endpoint.CHAT, fresh=rng.random() < 0.5, priority=rng.randint(1, 10))
        service = self._service
        record = service.record(ask, body, LOCAL_APP)
        task = asyncio.current_task()
        assert task is not None
        self._records[task] = record
        try:
            reply = await service.answer(ask, body, LOCAL_APP, record)
            if reply.stream is not None:
                try:
                    async for _ in reply.stream:
                        pass
                finally:
                    await reply.stream.aclose()
        except asyncio.CancelledError:
            self.ends["given up"] += 1
        except AIClientError as error:
            self.ends[error.code or error.type] += 1
        else:
            self.ends["answered"] += 1
        finally:
            self.hedged += bool(record.hedge)
            del self._records[task]


def where(task: asyncio.Task[Any]) -> str:
    """The innermost point of POINTS that the task waits at; in the words of the table."""
    found = ""
    coro: Any = task.get_coro()
    while coro is not None:
        name = getattr(coro, "__qualname__", "")
        found = POINTS.get(name, found)
        coro = getattr(coro, "cr_await", None) or getattr(coro, "ag_await", None)
    return found


def left(service: Service, shared: Shared) -> dict[str, int]:
    """What is held, by name; only what is above zero."""
    pools = [provider._pool for provider in service.providers.values()]  # type: ignore[attr-defined]  # noqa: SLF001
    held = {
        "calls": service.in_flight,
        "bytes of bodies": service.held_bytes,
        "reservations": sum(gate.running for _, gate in shared.quota),
        "places in a line": sum(gate.waiting for _, gate in shared.quota),
        "nano-dollars reserved": sum(account.reserved for account in shared.budgets.accounts.values()),
        "connections being opened": sum(pool._opening for pool in pools),  # noqa: SLF001
        "places in a pool's line": sum(pool.waiting for pool in pools),
        "connections in use": sum(pool.open_connections - len(pool._idle) for pool in pools),  # noqa: SLF001
    }
    return {name: count for name, count in held.items() if count}


def descriptors() -> int:
    """Files that this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


class LeakError(AssertionError):
    """Something is still held though no call is under way."""


async def run(cancellations: int, folder: Path, seed: int, every: int = 5000) -> Storm:
    """Give up so many. Raises LeakError with what was left."""
    rng = random.Random(seed)
    provider = Provider(rng)
    server = Server(provider.handle)
    host, port = await server.listen_tcp("127.0.0.1", 0)
    path = folder / "ai-client.conf"
    text = _CONFIG.format(url=f"http://{host}:{port}/v1", models=", ".join(MODELS), folder=folder)
    path.write_text(text)
    config = load(path, {}).config
    shared = open_daemon(config)
    service = build(config, shared)
    storm = Storm(service, rng)
    tasks, open_files = len(asyncio.all_tasks()), descriptors()
    try:
        while (missing := cancellations - storm.struck.total()) > 0:
            await storm.blow(min(missing, every))
            await _settled(lambda: left(service, shared))
        provider.well = True
        await _mended(storm, shared)
        service.retire()
        await _settled(lambda: left(service, shared))
        await _settled(lambda: _more(tasks, open_files))
    finally:
        service.close()
        await shared.close()
        server.close()
    return storm


def _more(tasks: int, open_files: int) -> dict[str, int]:
    found = {"tasks": len(asyncio.all_tasks()) - tasks, "descriptors": descriptors() - open_files}
    return {name: count for name, count in found.items() if count > 0}


async def _settled(look: Any, patience: float = 10.0) -> None:
    """The other ends of connections need a turn or two. Raises LeakError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while found := look():
        if loop.time() > deadline:
            raise LeakError(f"left behind: {found}")
        await asyncio.sleep(0.001)


async def _mended(storm: Storm, shared: Shared) -> None:
    """With a provider that is well, calls close every circuit: no probe is out for ever. Raises LeakError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 20.0
    while any(state != "closed" for state in shared.health.states().values()):
        if loop.time() > deadline:
            raise LeakError(f"circuits do not close: {shared.health.states()}")
        await storm._call()  # noqa: SLF001
        await asyncio.sleep(0.005)


def table(storm: Storm) -> str:
    """Where calls were given up, and what became of the others."""
    lines = ["| given up | calls |", "|---|---|"]
    lines += [f"| {point} | {count} |" for point, count in storm.struck.most_common()]
    others = ", ".join(f"{count} {end}" for end, count in storm.ends.most_common() if end != "given up")
    return "\n".join(
        [
            *lines,
            f"| all | {storm.struck.total()} |",
            f"| {FALLBACK} | {storm.later} |",
            "",
            f"asked twice: {storm.hedged}; of the others: {others}",
        ]
    )


def main() -> None:
    """Run CANCELLATIONS of them."""
    wanted, seed = int(os.environ.get("CANCELLATIONS", "100000")), int(os.environ.get("CANCELLATIONS_SEED", "1"))
    print(f"{wanted} cancellations, seed {seed}\n", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            storm = uvloop.run(run(wanted, Path(folder), seed))
        except LeakError as leak:
            print(f"FAILED: {leak}")
            sys.exit(1)
    print(table(storm))
    print("passed: nothing is left behind")


if __name__ == "__main__":
    main()
