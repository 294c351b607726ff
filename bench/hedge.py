"""`make bench-hedge`: what a second request saves of the slowest answers, and what it costs.

Two simulators with the times of gpt-4.1, a tenth of the real ones, and luck of their own each; the library before them,
offered calls by the clock. `stalls`: besides, two of a hundred answers at the first provider come a second later.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from ai_client.client import AsyncAIClient
from ai_client.errors import AIClientError
from ai_client.model.request import Endpoint
from bench.contestant import JSON_HEADERS
from bench.ours import start_simulator
from bench.processes import Processes, free_port, wait_until_answers
from bench.statistics import percentile

RATE, SECONDS, WARM = 60.0, 15.0, 3.0
TOKENS = 16


@dataclass
class Figures:
    """What the calls of one run took, in milliseconds, and cost, in nano-dollars."""

    times: list[float] = field(default_factory=list)
    nano: int = 0
    lost: int = 0
    hedged: int = 0
    won: int = 0
    failed: int = 0


def write_config(folder: Path, ports: tuple[int, int], *, hedged: bool) -> Path:
    """Two providers of one model, hedged or not, and nothing else that could get in the way."""
    first, second = (f"http://127.0.0.1:{port}/v1" for port in ports)
    path = folder / f"hedge-{hedged}.conf"
    path.write_text(f"""\
[api]
base_url = {first}
api_key = hs_bench
models = gpt-4.1
[models]
default = gpt-4.1
[routing]
simple = gpt-4.1
moderate = gpt-4.1
complex = gpt-4.1
[provider other]
base_url = {second}
api_key = other
models = gpt-4.1
[caching]
enabled = no
[limits]
requests_per_minute = 0
tokens_per_minute = 0
[costs]
ledger = none
[hedge]
enabled = {hedged}
min_samples = 100
""")
    return path


async def one(client: AsyncAIClient, number: int, *, stream: bool, figures: Figures | None) -> None:
    """One call, timed to its first content if it is a stream, else to its end."""
    body = {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": f"Question {number}: what is it?"}],
        "max_tokens": TOKENS,
        "stream": stream,
    }
    try:
        reply, record = await client.ask(Endpoint.CHAT, body)
        if reply.stream is not None:
            async for _ in reply.stream:
                pass
    except AIClientError:
        if figures is not None:
            figures.failed += 1
        return
    if figures is not None:
        figures.times.append((record.first_byte_ns if stream else record.duration_ns) / 1e6)
        figures.nano += record.cost_nano
        figures.lost += record.lost_nano
        figures.hedged += bool(record.hedge)
        figures.won += record.hedge == "won"


async def offer(config: Path, *, stream: bool) -> Figures:
    """Calls at random moments, `RATE` a second on average; those of the first seconds teach and are not counted."""
    figures, rng, running = Figures(), random.Random(1), set[asyncio.Task[None]]()
    async with AsyncAIClient(config=config) as client:
        loop = asyncio.get_running_loop()
        begun = due = loop.time()
        number = 0
        while (due := due + rng.expovariate(RATE)) < begun + WARM + SECONDS:
            await asyncio.sleep(due - loop.time())
            counted = figures if due > begun + WARM else None
            running.add(task := asyncio.ensure_future(one(client, number, stream=stream, figures=counted)))
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.gather(*running)
    return figures


def run(*, stream: bool, stalls: bool, hedged: bool) -> Figures:
    """New simulators for each run, so that the luck is the same."""
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        ports = free_port(), free_port()
        for seed, port in enumerate(ports, 1):
            options = ["--profile", "fast", "--seed", str(seed)]
            if stalls and port == ports[0]:
                options += ["--fault", "stall@p=0.02,for=1"]
            simulator = start_simulator(processes, port, *options, name=f"simulator-{seed}")
            wait_until_answers(simulator, port, JSON_HEADERS)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(offer(write_config(Path(folder), ports, hedged=hedged), stream=stream))


def main() -> None:
    """Print the table."""
    print(f"{RATE:.0f} calls a second for {SECONDS:.0f} s, {TOKENS} tokens each\n")
    print("| answers | tail | hedging | p50 ms | p95 ms | p99 ms | highest | asked twice | won | cost | failed |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for stream in (False, True):
        for stalls in (False, True):
            alone = 0.0
            for hedged in (False, True):
                found = run(stream=stream, stalls=stalls, hedged=hedged)
                calls = len(found.times) or 1
                each = found.nano / calls
                alone = alone or each
                cells = [
                    "stream, first content" if stream else "whole",
                    "stalls" if stalls else "lognormal",
                    "on" if hedged else "off",
                    *(f"{percentile(found.times, percent):.0f}" for percent in (50, 95, 99, 100)),
                    f"{found.hedged / calls:.1%}",
                    f"{found.won / calls:.1%}",
                    f"{each / alone - 1:+.1%}",
                    str(found.failed),
                ]
                print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
