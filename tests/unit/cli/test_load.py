"""The open loop: when it sends, what it counts, and how it ends. Time is the test's own where it matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from ai_client.cli import load
from ai_client.cli.load import Figures, OpenLoop, Plan
from ai_client.clock import SystemClock
from ai_client.cost.prices import Price
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.server import Server
from tests.running import Run

Handle = Callable[[Request, Exchange], Awaitable[None] | None]
JSON = ((b"content-type", b"application/json"),)
ANSWER = b'{"model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 2}}'
SSE = ((b"content-type", b"text/event-stream"),)
CHUNK = b'data: {"model": "m", "choices": []}\n\n'
LAST = (
    b'data: {"usage": {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}}\n\n'
)


def price(model: str) -> Price | None:
    return Price(1_000_000, 500_000, 2_000_000) if model == "m" else None  # nano-dollars: 1 in, 0.5 cached, 2 out


@asynccontextmanager
async def loop_against(handle: Handle, plan: Plan, connections: int = 10) -> AsyncIterator[OpenLoop]:
    server = Server(handle)
    host, port = await server.listen_tcp("127.0.0.1", 0)
    pool = Pool(Origin.parse(f"http://{host}:{port}"), PoolSettings(connections, plan.patience))

    def wire(number: int) -> bytes:
        return b"POST /%d HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n" % number

    try:
        yield OpenLoop(pool, plan, wire, price, SystemClock())
    finally:
        pool.close()
        server.close()


def figures(run: Run, handle: Handle, requests: int = 1, patience: float = 30.0) -> Figures:
    async def scene() -> Figures:
        async with loop_against(handle, Plan(1000.0, requests / 1000, patience)) as loop:
            return await loop.run()

    return run(scene())


def test_every_request_is_sent_once_and_counted(run: Run) -> None:
    paths: list[str] = []

    def answer(request: Request, exchange: Exchange) -> None:
        paths.append(request.path)
        cache = b"hit" if request.path == "/3" else b"miss"
        headers = (*JSON, (b"x-ai-client-cache", cache), (b"x-ai-client-cost-usd", b"0.000000005"))
        exchange.send(200, headers, ANSWER)

    found = figures(run, answer, 20)
    assert sorted(paths, key=lambda path: int(path[1:])) == [f"/{number}" for number in range(20)]
    assert (found.due, found.answered, found.errors) == (20, 20, {})
    assert (found.cost_nano, found.input_tokens, found.output_tokens) == (100, 200, 40)
    assert found.cache == {"hit": 1, "miss": 19}
    assert found.latencies.total == found.lateness.total == 20
    assert found.slowest_ns > 0
    assert found.elapsed_ns >= 19_000_000


def test_a_request_that_is_held_up_counts_from_when_it_was_due(run: Run) -> None:
    """One connection, and the first answer comes only when the others have long been due."""

    async def scene() -> Figures:
        held: list[Exchange] = []
        plan = Plan(1000.0, 0.05, 30.0)

        def answer(request: Request, exchange: Exchange) -> None:
            if request.path != "/0":
                exchange.send(200, JSON, ANSWER)
                return
            held.append(exchange)
            asyncio.get_running_loop().call_later(0.1, exchange.send, 200, JSON, ANSWER)

        async with loop_against(answer, plan, connections=1) as loop:
            return await loop.run()

    found = run(scene())
    assert found.answered == 50
    assert found.latencies.percentile(1) >= 0.045e9  # even the last was due 50 ms before the first answer came


def test_streams_are_priced_by_their_usage_and_timed_by_their_first_byte(run: Run) -> None:
    def answer(request: Request, exchange: Exchange) -> None:
        exchange.start(200, SSE)
        exchange.write(CHUNK + LAST + b"data: [DONE]\n\n")
        exchange.end()

    found = figures(run, answer)
    assert (found.answered, found.first_bytes.total, found.cost_nano) == (1, 1, 6 + 2 + 4)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (429, b'{"error": {"code": "rate_limit_exceeded"}}', "429 rate_limit_exceeded"),
        (500, b'{"error": {"message": 5}}', "500"),
        (500, b'{"error": null}', "500"),
        (502, b"<html>", "502"),
        (200, b"nonsense", "not JSON"),
    ],
)
def test_what_fails_is_counted_by_its_reason(run: Run, status: int, body: bytes, reason: str) -> None:
    found = figures(run, lambda request, exchange: exchange.send(status, JSON, body), 2)
    assert (found.answered, found.errors, found.first) == (0, {reason: 2}, {})


def test_the_first_words_of_an_error_are_kept(run: Run) -> None:
    bodies = [b'{"error": {"code": "c", "message": "one"}}', b'{"error": {"code": "c", "message": "two"}}']
    found = figures(run, lambda request, exchange: exchange.send(400, JSON, bodies.pop(0)), 2)
    assert (found.errors, found.first) == ({"400 c": 2}, {"400 c": "one"})
    cut = figures(run, lambda request, exchange: None, 1, patience=0.05)
    assert list(cut.first) == ["upstream_timeout"]


@pytest.mark.parametrize("last", [b"", b'event: error\ndata: {"error": {}}\n\n'])
def test_a_stream_that_breaks_off_is_an_error(run: Run, last: bytes) -> None:
    def answer(request: Request, exchange: Exchange) -> None:
        exchange.start(200, SSE)
        exchange.write(CHUNK + last)
        exchange.end()

    assert figures(run, answer).errors == {"api_error": 1}


def test_silence_is_an_error(run: Run) -> None:
    assert figures(run, lambda request, exchange: None, 1, patience=0.05).errors == {"upstream_timeout": 1}


def test_an_answer_without_price_is_told_apart(run: Run) -> None:
    found = figures(run, lambda request, exchange: exchange.send(200, JSON, b'{"model": "x"}'))
    assert (found.answered, found.unpriced, found.cost_nano) == (1, 1, 0)


def test_a_hit_without_a_price_tag_costs_nothing(run: Run) -> None:
    headers = (*JSON, (b"x-ai-client-cache", b"hit"))
    found = figures(run, lambda request, exchange: exchange.send(200, headers, ANSWER))
    assert (found.cost_nano, found.unpriced) == (0, 0)


def test_too_many_under_way_are_not_sent(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MOST_UNDER_WAY", 3)
    found = figures(run, lambda request, exchange: None, 8, patience=0.2)
    assert found.errors == {"not sent: too many under way": 5, "upstream_timeout": 3}


@pytest.mark.parametrize("requests", [1, 1_000_000])
def test_stopped_it_keeps_what_it_has(run: Run, requests: int) -> None:
    """While it waits for the last answers, and while it still sends."""

    async def scene() -> Figures:
        arrived = asyncio.Event()
        plan = Plan(100.0, requests / 100.0, 30.0)

        def hold(request: Request, exchange: Exchange) -> None:
            arrived.set()

        async with loop_against(hold, plan) as loop:
            running = asyncio.create_task(loop.run())
            await arrived.wait()
            loop.stop()
            return await running

    found = run(scene())
    assert found.answered == 0
    assert not found.errors
    assert 1 <= found.due < 1_000
