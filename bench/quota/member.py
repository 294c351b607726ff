"""One member: a process with the whole pipeline in it, that asks as it is told and counts what became of it."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from typing import Any

import uvloop

from ai_client import AsyncAIClient, RateLimitedError, UpstreamError
from ai_client.errors import AIClientError, UpstreamStatusError

PROMPT = "Tell me something about the sea, please. " * 10


class Tally:
    """What became of the calls."""

    def __init__(self) -> None:
        self.answered: list[float] = []
        self.counts = {"sent": 0, "provider_429": 0, "refused_here": 0, "failed": 0}
        self.waits: list[float] = []


async def call(client: AsyncAIClient, tally: Tally, prompt: str, bound: int, patience: float) -> None:
    """One call, at most so many seconds long."""
    tally.counts["sent"] += 1
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": prompt}], "max_tokens": bound}
    try:
        _, record = await client.ask("/chat/completions", body, timeout=patience)  # type: ignore[arg-type]
        tally.answered.append(time.time())
        tally.waits.append(record.queue_ns / 1e9)
    except RateLimitedError:
        tally.counts["refused_here"] += 1
    except UpstreamStatusError as error:
        tally.counts["provider_429" if error.status == 429 else "failed"] += 1
    except UpstreamError:
        tally.counts["failed"] += 1
    except AIClientError:  # its time was over while it waited
        tally.counts["refused_here"] += 1


async def main(told: dict[str, Any]) -> None:
    """Ask until the time is over, then print what became of it."""
    rng = random.Random(told["seed"])
    tally = Tally()
    tasks: set[asyncio.Task[None]] = set()
    async with AsyncAIClient() as client:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        told["begin"] = float(await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline))
        await asyncio.sleep(max(0.0, told["begin"] - time.time()))
        end = told["begin"] + told["seconds"]
        arrivals = iter(told["arrivals"] or ())
        while time.time() < end:
            if told["arrivals"]:
                step = next(arrivals, None)
                if step is None:
                    break
                at, chars, bound = step
                await asyncio.sleep(max(0.0, told["begin"] + at - time.time()))
                prompt = ("word " * (chars // 5 + 1))[:chars]
            else:
                await asyncio.sleep(rng.expovariate(told["rate"]))
                prompt, bound = PROMPT, told["reply"]
            task = asyncio.create_task(call(client, tally, prompt, bound, told["patience"]))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        fleet = client._shared.quota.fleet  # noqa: SLF001  the bench looks inside
        trips = fleet.trips if fleet is not None else 0
    sys.stdout.write(json.dumps({**tally.counts, "answered": tally.answered, "waits": tally.waits, "trips": trips}))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(json.loads(sys.stdin.readline())))
