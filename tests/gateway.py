"""A daemon before a provider, both real: in this process where speed matters, as a child where signals do."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec

from ai_client.clock import SystemClock
from ai_client.config.load import load
from ai_client.config.snapshot import Config
from ai_client.daemon.process import Daemon
from ai_client.lasting import Shared, open_daemon
from ai_client.simulator.app import RunningSimulator, start
from ai_client.simulator.settings import Settings
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.server import Server
from tests.wire import until

KEY = "hs_canary_5f1c"
"""The provider's key in every test: it must turn up nowhere but at the provider."""
NOWHERE = "http://127.0.0.1:1/v1"
COMMAND = str(Path(sys.executable).with_name("ai-client"))
MODELS = "gpt-4.1, claude-sonnet-4.5, gemini-2.5-flash, deepseek-v3.2, text-embedding-3-small"
HELLO: Any = [{"role": "user", "content": "Say hello."}]
ASK: Any = {"model": "gpt-4.1", "messages": HELLO, "max_tokens": 8}

Sections = Mapping[str, Mapping[str, object]]


def write_config(folder: Path, base_url: str, sections: Sections | None = None) -> Path:
    """A configuration that reaches `base_url`, keeps all it writes below `folder`, and fails at once: no retries."""
    wanted: dict[str, dict[str, object]] = {
        "api": {"base_url": base_url, "api_key": KEY, "models": MODELS, "max_retries": 0},
        "caching": {"enabled": "false"},
        "logging": {"log_dir": folder / "logs", "destination": "file"},
        "monitoring": {"metrics_port": 0},
        "limits": {"requests_per_minute": 0, "tokens_per_minute": 0},
    }
    for section, keys in (sections or {}).items():
        wanted.setdefault(section, {}).update(keys)
    lines = [line for name, keys in wanted.items() for line in (f"[{name}]", *(f"{k} = {v}" for k, v in keys.items()))]
    path = folder / "ai-client.conf"
    path.write_text("\n".join(lines) + "\n")
    return path


def configured(folder: Path, sections: Sections | None = None, base_url: str = NOWHERE) -> Config:
    """That configuration, loaded."""
    return load(write_config(folder, base_url, sections), {}).config


@contextlib.asynccontextmanager
async def opened(folder: Path, sections: Sections | None = None) -> AsyncIterator[Shared]:
    """What a daemon of that configuration keeps through its reloads."""
    shared = open_daemon(configured(folder, sections))
    yield shared
    await shared.close()


@contextlib.asynccontextmanager
async def simulated(*faults: str, **settings: Any) -> AsyncIterator[RunningSimulator]:
    """A simulator without delays."""
    settings.setdefault("profile", "zero")
    async with await start(Settings(faults=faults, **settings), SystemClock()) as running:
        yield running


@contextlib.asynccontextmanager
async def serving(
    config: Path, *listen: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Daemon, str]]:
    """A daemon in this process, and the URL of the first TCP address on which it listens."""
    daemon = Daemon(lambda: load(config, {}), listen or ("127.0.0.1:0",), dict(environ or {}))
    await daemon.start()
    try:
        address = next((bound for bound in daemon.bound if not bound.startswith("unix:")), "none")
        yield daemon, f"http://{address}"
    finally:
        daemon.stop()
        await daemon.wait()


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, *faults: str, sections: Sections | None = None, **settings: Any
) -> AsyncIterator[tuple[RunningSimulator, httpx.AsyncClient]]:
    """Simulator, daemon, and a plain HTTP client of the daemon."""
    async with (
        simulated(*faults, **settings) as simulator,
        serving(write_config(folder, simulator.url, sections)) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=30) as client,
    ):
        yield simulator, client


class Child:
    """`ai-client serve` as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process, said: str) -> None:
        self.process = process
        self.said = said
        """The line with which it tells where it serves."""

    @property
    def url(self) -> str:
        """Where the first TCP listener is."""
        addresses = self.said.removeprefix("ai-client serves on ").split(", ")
        return "http://" + next(address for address in addresses if not address.startswith("unix:"))

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> tuple[int, str]:
        """Its exit code, and what else it said on stderr."""
        assert self.process.stderr is not None
        rest = await self.process.stderr.read()
        return await self.process.wait(), rest.decode()


@contextlib.asynccontextmanager
async def child(
    config: Path, *listen: str, environ: Mapping[str, str] | None = None, pass_fds: Sequence[int] = ()
) -> AsyncIterator[Child]:
    """A daemon in a child process that is ready; it is ended, and must end well, unless the test ended it."""
    arguments = [part for address in listen or ("127.0.0.1:0",) for part in ("--listen", address)]
    process = await asyncio.create_subprocess_exec(
        *(COMMAND, "serve", "--config", str(config), *arguments),
        env={**os.environ, **(environ or {})},
        stderr=asyncio.subprocess.PIPE,
        pass_fds=pass_fds,
    )
    assert process.stderr is not None
    try:
        said = (await process.stderr.readline()).decode().strip()
        assert said.startswith("ai-client serves on "), said + (await process.stderr.read()).decode()
        assert (await process.stderr.readline()).startswith(b"its logs are in ")
        yield Child(process, said)
    finally:
        if process.returncode is None:
            process.terminate()
        rest = await process.stderr.read()
        code = await process.wait()
        assert KEY.encode() not in rest, "the key is on stderr"
        assert HELLO[0]["content"].encode() not in rest, "a prompt is on stderr"
    assert code == 0, rest


class Recorder:
    """A provider that writes down what it is sent, and answers what it is told: to hold bytes against bytes."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer = (
            b'{"id":"x","object":"chat.completion","model":"gpt-4.1","choices":[{"index":0,"message":{"role":"assistant",'
            b'"content":"a"},"text":"a","finish_reason":"stop"}],"data":[],"output":[]}'
        )
        self.headers: list[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]
        self.status = 200
        self.hold = False
        self.pieces: list[bytes] = []
        """What a stream begins with; with `hold` it then stays open."""
        self.left = 0
        """How many were given up while they were held."""
        self.held: list[Exchange] = []
        self.url = ""

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Write the request down, and answer it or hold it."""
        self.requests.append(request)
        if self.pieces:
            exchange.start(self.status, self.headers)
            for piece in self.pieces:
                exchange.write(piece)
            if not self.hold:
                exchange.end()
        elif not self.hold:
            exchange.send(self.status, self.headers, self.answer)
        if self.hold:
            exchange.on_disconnect(self._left)
            self.held.append(exchange)

    def release(self) -> None:
        """Answer what is held."""
        self.hold = False
        for exchange in self.held:
            exchange.send(self.status, self.headers, self.answer)
        self.held.clear()

    def _left(self) -> None:
        self.left += 1


@contextlib.asynccontextmanager
async def recording(
    folder: Path, sections: Sections | None = None
) -> AsyncIterator[tuple[Recorder, httpx.AsyncClient]]:
    """A recorder, a daemon before it, and a plain HTTP client of the daemon."""
    async with recorder() as upstream:
        config = write_config(folder, upstream.url, sections)
        async with serving(config) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
            yield upstream, client


@contextlib.asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    """A recorder that listens."""
    upstream = Recorder()
    server = Server(upstream.handle)
    host, port = await server.listen_tcp("127.0.0.1", 0)
    upstream.url = f"http://{host}:{port}/v1"
    try:
        yield upstream
    finally:
        server.close()
        await until(lambda: not server.connections)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """The error object of an answer, which must have OpenAI's shape."""
    body = msgspec.json.decode(answer.content, type=dict[str, dict[str, Any]])
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["content-type"] == "application/json"
    return body["error"]
