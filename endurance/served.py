"""`python -m endurance.served --config FILE --figures FILE`: the daemon as `serve` runs it, watched within.

Every few seconds a line of JSON says what it holds. What is read here is read by nobody but the soak, so the daemon
itself has no door for it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
from pathlib import Path
from typing import Final

import msgspec
import uvloop

from ai_client.config.load import load
from ai_client.daemon.process import Daemon
from ai_client.daemon.secrecy import keep_memory_private

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Figures(msgspec.Struct, frozen=True):
    """What a daemon holds at one moment.

    `seconds` since the start, `rss` in bytes; `held` reservations and places of all limiters, `waiting` for one;
    `in_flight` calls of the current service, `callers` connected to the daemon.
    """

    seconds: float
    rss: int
    descriptors: int
    tasks: int
    pool: int
    pool_waiting: int
    held: int
    waiting: int
    in_flight: int
    callers: int


def look(daemon: Daemon, seconds: float) -> Figures:
    """Count."""
    service = daemon._handler.service  # noqa: SLF001
    pools = [provider._pool for provider in service.providers.values()]  # type: ignore[attr-defined]  # noqa: SLF001
    gates = [gate for _, gate in daemon._shared.quota]  # noqa: SLF001
    return Figures(
        round(seconds, 1),
        int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE,
        len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208  one of them is this look
        len(asyncio.all_tasks()) - 1,
        sum(pool.open_connections for pool in pools),
        sum(pool.waiting for pool in pools),
        sum(gate.running for gate in gates),
        sum(gate.waiting for gate in gates),
        service.in_flight,
        sum(len(server.connections) for server in daemon._servers),  # noqa: SLF001
    )


async def _watch(daemon: Daemon, path: Path, every: float) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    with path.open("ab", buffering=0) as file:
        while True:
            file.write(msgspec.json.encode(look(daemon, loop.time() - begun)) + b"\n")
            await asyncio.sleep(every)


async def _serve(config: Path, figures: Path, every: float) -> None:
    daemon = Daemon(lambda: load(config, {}), (), dict(os.environ))
    await daemon.start()
    gc.collect()
    gc.freeze()
    watch = asyncio.create_task(_watch(daemon, figures, every))
    await daemon.wait()
    watch.cancel()


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="endurance.served")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--every", type=float, default=5.0)
    options = parser.parse_args()
    keep_memory_private()
    gc.set_threshold(20_000, 10, 10)
    uvloop.run(_serve(options.config, options.figures, options.every))


if __name__ == "__main__":
    main()
