"""A stage for the simulator, without network or waiting: a clock that is moved, its timers, a page to write on."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec

from ai_client.simulator.app import Simulator
from ai_client.simulator.settings import Settings
from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.http import Header

KEY = "hs_test"


class HandClock:
    """A clock that stands still until it is moved; timers set with `later` fire as it passes them."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def monotonic_ns(self) -> int:
        return self.now_ns

    def unix_ns(self) -> int:
        return 1_767_225_600_000_000_000 + self.now_ns

    def later(self, seconds: float, callback: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._timers, (self.now_ns + round(seconds * 1e9), self._count, callback))

    def advance(self, seconds: float) -> None:
        end_ns = self.now_ns + round(seconds * 1e9)
        while self._timers and self._timers[0][0] <= end_ns:
            self.now_ns, _, callback = heapq.heappop(self._timers)
            callback()
        self.now_ns = end_ns

    @property
    def waiting(self) -> int:
        return len(self._timers)


class Page(Exchange):
    """An exchange that keeps what is written on it, and when: (seconds since the first moment, verb, what)."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(cast("Any", None))
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.acts: list[tuple[float, str, bytes]] = []
        self._clock = clock
        self._begin_ns = clock.now_ns

    def _act(self, verb: str, data: bytes = b"") -> None:
        self.acts.append(((self._clock.now_ns - self._begin_ns) / 1e9, verb, data))
        self.body += data

    def send(self, status: int, headers: Sequence[Header], body: bytes) -> None:
        self.status, self.headers = status, dict(headers)
        self._act("send", body)

    def start(self, status: int, headers: Sequence[Header]) -> None:
        self.status, self.headers = status, dict(headers)
        self._act("start")

    def write(self, data: bytes) -> None:
        self._act("write", data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self._act("end")

    def abort(self) -> None:
        self._act("abort")
        self.disconnected()

    def raw(self, data: bytes) -> None:
        self._act("raw", data)

    def close_raw(self) -> None:
        self._act("close_raw")

    @property
    def verbs(self) -> list[str]:
        return [verb for _, verb, _ in self.acts]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def events(self) -> list[Any]:
        """The JSON of the events of a stream; `[DONE]` as it is."""
        data = [line[6:] for line in self.body.split(b"\n") if line.startswith(b"data: ")]
        return ["[DONE]" if item == b"[DONE]" else msgspec.json.decode(item) for item in data]


class Stage:
    """A simulator, a clock, and requests to it."""

    def __init__(self, **settings: Any) -> None:
        self.clock = HandClock()
        settings.setdefault("profile", "zero")
        self.simulator = Simulator(Settings(**settings), self.clock, later=self.clock.later)

    def ask(
        self, path: str, body: Any = None, *, key: str | None = KEY, method: str = "", advance: float = 0.0
    ) -> Page:
        """Send a request; `body` is bytes or becomes JSON. `advance` moves the clock on by so many seconds after it."""
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        headers = [(b"authorization", f"Bearer {key}".encode())] if key is not None else []
        verb = method or ("GET" if body is None else "POST")
        page = Page(self.clock)
        self.simulator.handle(Request(verb, path, "", headers, data, True), page)
        self.clock.advance(advance)
        return page

    def chat(self, text: str = "Say something.", *, advance: float = 0.0, key: str = KEY, **fields: Any) -> Page:
        """Ask a model to chat; `deepseek-v3.2` unless another is named."""
        body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": text}], **fields}
        return self.ask("/v1/chat/completions", body, key=key, advance=advance)
