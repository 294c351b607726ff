"""`python -m bench.quota.away`: how long a member is without its store, when one is restarted, watched, or a cluster.

Real servers and one member in this process, AWAY_ROUNDS (5) times each. What is measured: from the death until the
member has an answer again, and of that what passed after the store could be asked by whoever tries all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from ai_client.clock import SystemClock
from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.base import MINUTE_NS, Caller, Kind, Settings, rate
from ai_client.limits.fleet import Fleet
from ai_client.limits.lease import Answer, Ask
from ai_client.limits.member import Terms
from bench import report
from bench.peers import SkippedError
from bench.quota.servers import program
from bench.statistics import spread

MUST_SECONDS = 5.0
DOWN_SECONDS = 4.0
"""So long one is down that is restarted: the member spends its share meanwhile."""
NOTICED_MS = 1000
"""After which Sentinels and a cluster take a server for dead; the role `quota_store` has 5 s by default."""
LIMITS = [f"provider:p{place}" for place in range(8)]
"""A cluster spreads them."""
_SLOTS = 16384

Wait = Callable[[], Awaitable[None]]


class Heard(RedisStore):
    """Remembers for each limit when the last question left that was answered."""

    def __init__(self, url: str) -> None:
        """Nothing is connected yet."""
        super().__init__(connect(url), "away")
        self._asked = dict.fromkeys(LIMITS, 0.0)
        self._news = asyncio.Event()

    async def exchange(self, asks: list[Ask]) -> list[Answer]:
        """As ever."""
        asked = time.monotonic()
        answers = await super().exchange(asks)
        self._asked |= dict.fromkeys((ask.limit for ask in asks), asked)
        self._news.set()
        return answers

    async def all_answered_after(self, moment: float) -> None:
        """Wait until every limit's question was answered, of those that left later."""
        while min(self._asked.values()) <= moment:
            self._news.clear()
            await self._news.wait()


@contextlib.asynccontextmanager
async def member(url: str) -> AsyncIterator[Heard]:
    """One that shares limits, and has calls all the time."""
    store, clock = Heard(url), SystemClock()
    fleet = Fleet(store, Terms("n0"), clock, on_mode=lambda *_: None, on_pause=lambda *_: None)
    settings = Settings((rate(Kind.REQUESTS, 6000, MINUTE_NS, 1.0),), 0)
    gates = [fleet.make(limit, limit, settings, keep=True) for limit in LIMITS]

    async def call() -> None:
        while True:
            for gate in gates:
                (await gate.reserve((1, 1, 0, 1, 0), Caller(5, "app", 1), clock.monotonic_ns() + MINUTE_NS)).release()
            await asyncio.sleep(0.05)

    calls = asyncio.create_task(call())
    try:
        await store.all_answered_after(time.monotonic() + 1)
        yield store
    finally:
        calls.cancel()
        await asyncio.gather(calls, return_exceptions=True)
        await fleet.close()


def free_port() -> int:
    """One whose bus, 10,000 above, may be free as well."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port: int = sock.getsockname()[1]
        if port <= 55_535:
            return port


class Servers:
    """Those of one round: each on a port of its own, in a folder of its own, without a memory."""

    def __init__(self, folder: Path) -> None:
        """`folder` is empty."""
        self._folder = folder
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._commands: dict[int, list[str]] = {}

    def add(self, *words: str, config: str = "") -> int:
        """Start one more; its port."""
        port = free_port()
        folder = self._folder / str(port)
        folder.mkdir()
        first = [program()]
        if config:
            (folder / "sentinel.conf").write_text(f"port {port}\n{config}")
            first += [str(folder / "sentinel.conf"), "--sentinel"]
        else:
            first += ["--port", str(port), "--save", ""]
        self._commands[port] = [*first, "--bind", "127.0.0.1", "--dir", str(folder), *words]
        self.start(port)
        return port

    def start(self, port: int) -> None:
        """Again."""
        self._running[port] = subprocess.Popen(self._commands[port], stdout=subprocess.DEVNULL)

    def kill(self, port: int) -> None:
        """As a machine does that loses its current."""
        process = self._running.pop(port)
        process.kill()
        process.wait()

    def kill_all(self) -> None:
        """At the end."""
        for port in list(self._running):
            self.kill(port)


async def tell(port: int, *words: str | int) -> Any:
    """One command, over and over until somebody answers."""
    while True:
        client = connect(f"redis://127.0.0.1:{port}/0")
        try:
            return await client.execute_command(*words)
        except (RedisError, OSError):
            await asyncio.sleep(0.005)
        finally:
            await client.aclose()


async def until(holds: Callable[[Any], bool], port: int, *words: str | int) -> None:
    """Ask until the answer is as it should be."""
    while not holds(await tell(port, *words)):  # noqa: ASYNC110  there is nobody who would set an event
        await asyncio.sleep(0.005)


async def is_primary(port: int) -> None:
    """Wait until it is one."""
    await until(lambda role: role[0] == b"master", port, "ROLE")


async def in_sync(port: int) -> None:
    """Wait until a replica has all."""
    await until(lambda role: role[0] == b"slave" and role[3] == b"connected", port, "ROLE")


async def restarted(servers: Servers) -> tuple[str, int, Wait]:
    """One server, which comes back with nothing."""
    port = servers.add()

    async def back() -> None:
        await asyncio.sleep(DOWN_SECONDS)
        servers.start(port)
        await tell(port, "PING")

    return f"redis://127.0.0.1:{port}/0", port, back


async def watched(servers: Servers) -> tuple[str, int, Wait]:
    """A primary, a replica, three Sentinels."""
    primary = servers.add("--repl-diskless-sync-delay", "0")
    replica = servers.add("--replicaof", "127.0.0.1", str(primary))
    await in_sync(replica)
    config = (
        f"sentinel monitor quota 127.0.0.1 {primary} 2\nsentinel down-after-milliseconds quota {NOTICED_MS}\n"
        "sentinel failover-timeout quota 6000\n"
    )
    sentinels = [servers.add(config=config) for _ in range(3)]
    for port in sentinels:
        await until(lambda others: len(others) == 2, port, "SENTINEL SENTINELS", "quota")
        await until(lambda replicas: len(replicas) == 1, port, "SENTINEL REPLICAS", "quota")
    where = ",".join(f"127.0.0.1:{port}" for port in sentinels)
    return f"redis+sentinel://{where}/quota", primary, lambda: is_primary(replica)


async def cluster(servers: Servers) -> tuple[str, int, Wait]:
    """Three primaries, one of which has a replica and dies."""
    words = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NOTICED_MS), "--repl-diskless-sync-delay", "0")
    ports = [servers.add(*words) for _ in range(4)]
    for place, port in enumerate(ports):
        await tell(port, "CLUSTER SET-CONFIG-EPOCH", place + 1)
    for place, port in enumerate(ports[:3]):
        await tell(port, "CLUSTER ADDSLOTS", *range(_SLOTS * place // 3, _SLOTS * (place + 1) // 3))
    for port in ports[1:]:
        await tell(ports[0], "CLUSTER MEET", "127.0.0.1", port)
    doomed, replica = ports[2], ports[3]
    for port in ports:
        await until(lambda told: told["cluster_state"] == "ok", port, "CLUSTER INFO")
    await tell(replica, "CLUSTER REPLICATE", (await tell(doomed, "CLUSTER MYID")).decode())
    await in_sync(replica)
    return f"redis+cluster://127.0.0.1:{ports[0]}", doomed, lambda: is_primary(replica)


STORIES = {"one, restarted": restarted, "watched by Sentinels": watched, "a cluster's node": cluster}


async def play(name: str) -> tuple[float, float]:
    """Seconds without the store, and how many of them after it was back."""
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(Path(folder))
        try:
            url, doomed, back = await STORIES[name](servers)
            async with member(url) as store:
                servers.kill(doomed)
                died = time.monotonic()
                await back()
                returned = time.monotonic()
                await store.all_answered_after(died)
                answered = time.monotonic()
                return answered - died, answered - returned
        finally:
            servers.kill_all()


def main() -> int:
    """Play all, print the table; 1 when a member took too long."""
    rounds = int(os.environ.get("AWAY_ROUNDS", "5"))
    rows, worst = [], 0.0
    for name in STORIES:
        try:
            found = [asyncio.run(play(name)) for _ in range(rounds)]
        except SkippedError as reason:
            sys.exit(str(reason))
        away, after = zip(*found, strict=True)
        rows.append((name, spread(away).text(".2f", " s"), spread(after).text(".2f", " s")))
        worst = max(worst, *after)
    print(report.table(("the store", "without it", "of that, after it was back"), rows))
    print(f"\nmust: back within {MUST_SECONDS:g} s of the store: {'met' if worst <= MUST_SECONDS else 'MISSED'}")
    return int(worst > MUST_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
