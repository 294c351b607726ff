"""`python -m bench.quota.question`: what one question of a member costs the server that a fleet shares.

The server's own processor time, as it tells it, over QUESTIONS (10,000) of the store's script on one limit of two
rates, each in a round trip of its own, as members ask. Time is made up: busy members find the level full, and short
ones find it empty.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from redis.exceptions import RedisError

from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.lease import Answer, Ask, Part
from bench import report
from bench.peers import SkippedError
from bench.quota.servers import program

_JOINING = 50
_MINUTE = 60_000
KINDS = {
    "idle": (Part(3_000, _MINUTE, 50), Part(600_000, _MINUTE, 10_000)),
    "busy": (Part(10**8, _MINUTE, 10**6, 5, 0, 1), Part(10**9, _MINUTE, 10**7, 2_000, 0, 100)),
    "short": (Part(3_000, _MINUTE, 50, 5, 1), Part(600_000, _MINUTE, 10_000, 2_000, 500)),
}
"""What a member says of the two rates: nothing; some more and some back; more than there is."""


class Fleet:
    """Members who remember what they heard, and their time."""

    def __init__(self, url: str, members: int, kind: str) -> None:
        """Nobody has asked yet."""
        self.client = connect(url)
        self.store = RedisStore(self.client, "question", lambda: self._now)
        self.names = [f"node{place:04}" for place in range(members)]
        self._parts = KINDS[kind]
        self._heard: dict[str, Answer] = {}
        self._now = 10**12

    async def ask(self, names: list[str], after: int) -> None:
        """All these, so many milliseconds later."""
        self._now += after
        asks = []
        for name in names:
            last = self._heard.get(name)
            asks.append(Ask("l", name, self._parts, 1, last.step if last else 0, last.share if last else 0))
        self._heard |= zip(names, await self.store.exchange(asks), strict=True)

    async def join(self) -> None:
        """All of them, and again when the store is past its beginning."""
        for after in (1, 3_000):
            for place in range(0, len(self.names), _JOINING):
                await self.ask(self.names[place : place + _JOINING], 0 if place else after)


async def processor(fleet: Fleet) -> float:
    """Seconds that the server has used."""
    told = await fleet.client.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


async def cost(members: int, kind: str, questions: int) -> float:
    """Microseconds of the server's processor for a question."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "s"
        command = [program(), "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220  before anything else runs
        try:
            fleet = Fleet(f"unix://{socket}", members, kind)
            while True:
                try:
                    await fleet.client.ping()
                    break
                except (RedisError, OSError):
                    await asyncio.sleep(0.01)
            await fleet.join()
            rng = random.Random(members)
            before = await processor(fleet)
            for place in range(questions):
                await fleet.ask([rng.choice(fleet.names)], int(place % 16 == 0))
            used = await processor(fleet) - before
            await fleet.store.close()
            return used / questions * 1e6
        finally:
            server.kill()
            server.wait()


def main() -> None:
    """Print the table."""
    questions = int(os.environ.get("QUESTIONS", "10000"))
    rows = []
    for members in (50, 5_000):
        for kind in KINDS:
            try:
                found = asyncio.run(cost(members, kind, questions))
            except SkippedError as reason:
                sys.exit(str(reason))
            rows.append((f"{members:,}", kind, f"{found:.0f} µs", f"{1e6 / found:,.0f}"))
    print(report.table(("members", "they are", "a question", "a core answers, a second"), rows))


if __name__ == "__main__":
    main()
