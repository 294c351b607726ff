"""A row of the table of goodput, and a real open loop that tells priorities apart."""

from __future__ import annotations

import asyncio
import json
import sys

from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from bench.goodput import row
from bench.openloop import Latencies, Share
from tests.running import Run


def test_a_row_tells_who_was_answered() -> None:
    shares = {"10": Share(90, 10, 100.0, 150.0), "5": Share(50, 50, 100.0, 160.0), "2": Share(0, 100, 0.0, 0.0)}
    found = Latencies(1200, 160, 110.4, 150.0, 160.0, 170.0, 0.1, shares, 2.34)
    assert row(5.0, 48, found) == "| on | 5× | 200 | 90% | 50% | 0% | 110 | 160 | 150 | 160 | 0 | 2.3 |"
    assert row(0.5, 0, Latencies(1, 0, 1, 1, 1, 1, 0, shares)).endswith("| – |")


def test_the_open_loop_sends_priorities_in_turn_and_tells_them_apart(run: Run) -> None:
    def handle(request: Request, exchange: Exchange) -> None:
        exchange.send(503 if request.header(b"x-priority") == b"2" else 200, (), b"")

    async def scene() -> None:
        server = Server(handle)
        _, port = await server.listen_tcp("127.0.0.1", 0)
        argv = ["-m", "bench.openloop", "--port", str(port), "--connections", "4", "--rate", "200", "--seconds", "0.15"]
        argv += ["--warmup", "0", "--priorities", "10", "2"]
        process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=asyncio.subprocess.PIPE)
        told = json.loads((await process.communicate())[0])
        server.close()
        assert (told["answered"], told["failed"]) == (15, 15)
        assert (told["by_priority"]["10"]["answered"], told["by_priority"]["10"]["refused"]) == (15, 0)
        assert (told["by_priority"]["2"]["answered"], told["by_priority"]["2"]["refused"]) == (0, 15)

    run(scene())
