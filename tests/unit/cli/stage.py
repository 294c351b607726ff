"""A provider and a daemon to try commands on: real ones, in a thread of their own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from ai_client.build import build
from ai_client.clock import SystemClock
from ai_client.config.load import parse_text
from ai_client.daemon.app import Handler
from ai_client.daemon.auth import Gate
from ai_client.lasting import Shared, open_daemon
from ai_client.service import Service
from ai_client.simulator.app import RunningSimulator, start
from ai_client.simulator.settings import Settings
from ai_client.sync_client import LoopThread
from ai_client.transport.server import Server

T = TypeVar("T")


class Stage:
    """A context manager. `url` is the provider's, `address` the daemon's, `conf` a configuration that names both."""

    def __init__(self, folder: Path, extra: str = "", **settings: Any) -> None:
        """`settings` are the simulator's, `extra` is appended to the configuration."""
        self._folder = folder
        self._extra = extra
        self._settings = {"profile": "zero", **settings}
        self._thread = LoopThread()

    def __enter__(self) -> Self:
        self.simulator: RunningSimulator = self._thread.run(start(Settings(**self._settings), SystemClock()))
        self.url = self.simulator.url
        self._thread.run(self._open())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.run(self._close())
        self._thread.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine in the servers' thread."""
        return self._thread.run(coroutine)

    def call(self, function: Callable[[], None]) -> None:
        """Call something in the servers' thread."""

        async def now() -> None:
            function()

        self._thread.run(now())

    async def _open(self) -> None:
        text = f"[api]\nprovider = sim\nbase_url = {self.url}\napi_key = k\n[limits]\nrequests_per_minute = 0\n"
        text += "tokens_per_minute = 0\n[logging]\ndestination = stderr\nlevel = CRITICAL\n[caching]\npersistent = no\n"
        text += self._extra
        config = parse_text(text).config
        self.shared: Shared = open_daemon(config)
        self.service: Service = build(config, self.shared)
        self.handler = Handler(self.service, Gate(config.apps), None)
        self._server = Server(self.handler)
        host, port = await self._server.listen_tcp("127.0.0.1", 0)
        self.address = f"{host}:{port}"
        self.conf = self._folder / "ai-client.conf"
        self.conf.write_text(f"{text}\n[daemon]\nlisten = {self.address}\n")

    async def _close(self) -> None:
        self._server.close()
        self.service.close()
        await self.shared.close()
        await self.simulator.close()
