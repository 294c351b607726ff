"""The simulator's front door: routes, the control plane, and a server to run it on."""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from ai_client.clock import Clock
from ai_client.errors import (
    AIClientError,
    ConfigurationError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
)
from ai_client.model.request import Endpoint
from ai_client.simulator.engine import Engine
from ai_client.simulator.script import Later, Player, Script
from ai_client.simulator.settings import Settings
from ai_client.transport.exchange import JSON_HEADERS, Exchange, Request, error_body
from ai_client.transport.server import Server

_NS_PER_MS: Final = 1_000_000


class _FaultList(msgspec.Struct, forbid_unknown_fields=True):
    faults: list[str]


class Simulator:
    """Answers requests as a provider would, deterministically, and counts what it did.

    It needs no server of its own: give its `handle` to any `transport.server.Server`.
    """

    def __init__(self, settings: Settings, clock: Clock, *, later: Later | None = None) -> None:
        """`later` calls back after so many seconds; without it the running loop's `call_later` does.

        Raises `ConfigurationError` when the settings make no sense.
        """
        self._engine = Engine(settings, clock)
        self._clock = clock
        self._later = later
        self._started_ns = clock.monotonic_ns()
        self._seed = settings.seed
        self._requests = 0
        self._errors: dict[int, int] = {}
        self._in_flight = 0
        self._max_in_flight = 0
        self._endpoints = {f"/v1{endpoint.value}": endpoint for endpoint in Endpoint if endpoint.value}
        self._control: dict[tuple[str, str], Callable[[bytes], object]] = {
            ("GET", "/sim/stats"): lambda _body: self.stats(),
            ("GET", "/sim/faults"): lambda _body: self._fault_list(),
            ("POST", "/sim/faults"): self._change_faults,
            ("POST", "/sim/reset"): self._reset,
        }

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request, now or later; never blocks and starts no task."""
        try:
            endpoint = self._endpoints.get(request.path)
            if endpoint is not None and request.method == "POST":
                self._requests += 1
                self._play(self._engine.answer(endpoint, request), exchange)
            elif request.path.startswith("/sim/"):
                body = msgspec.json.encode(self._controlled(request))
                exchange.send(200, JSON_HEADERS, body)
            else:
                self._requests += 1
                self._play(self._engine.models(_models_request(request, endpoint)), exchange)
        except AIClientError as error:
            self._errors[error.status] = self._errors.get(error.status, 0) + 1
            body = error_body(error.message, error.code or "error", error.type, error.param)
            exchange.send(error.status, JSON_HEADERS, body)

    def stats(self) -> dict[str, Any]:
        """What `GET /sim/stats` answers. Costs are in nano-dollars, times in milliseconds."""
        engine = self._engine
        keys = [{"key": account.shown_key, **_plain(account.counters)} for account in engine.accounts]
        models = {name: _plain(counters) for name, counters in engine.by_model.items()}
        totals = {
            name: sum(model[name] for model in models.values()) for name in _plain(next(iter(engine.by_model.values())))
        }
        return {
            **totals,
            "seed": self._seed,
            "uptime_ms": (self._clock.monotonic_ns() - self._started_ns) // _NS_PER_MS,
            "requests": self._requests,
            "errors": {str(status): count for status, count in sorted(self._errors.items())},
            "in_flight": self._in_flight,
            "max_in_flight": self._max_in_flight,
            "faults_injected": dict(engine.faults.counts),
            "faults_in_force": self._fault_list()["faults"],
            "models": models,
            "keys": keys,
        }

    def set_faults(self, specs: list[str]) -> None:
        """Put other faults in force; their clock starts now. Raises `ConfigurationError`, and changes nothing then."""
        self._engine.faults.replace(specs, self._clock.monotonic_ns())

    def reset(self) -> None:
        """Begin anew: counters, quotas, prefix caches and luck. The faults stay in force and begin anew too."""
        self._engine.reset()
        self._requests = 0
        self._errors.clear()
        self._max_in_flight = self._in_flight

    def _play(self, script: Script, exchange: Exchange) -> None:
        self._in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self._in_flight)
        if script.immediate:
            self._in_flight -= 1
            exchange.send(script.status, script.headers, script.frames[0])
            return
        later = self._later or asyncio.get_running_loop().call_later
        Player(script, exchange, self._clock, later, self._played).play()

    def _played(self) -> None:
        self._in_flight -= 1

    def _controlled(self, request: Request) -> object:
        action = self._control.get((request.method, request.path))
        if action is not None:
            return action(request.body)
        if any(path == request.path for _, path in self._control):
            raise MethodNotAllowedError(f"{request.path} does not take {request.method}")
        raise NotFoundError(f"no such control: {request.path}; there are /sim/stats, /sim/faults and /sim/reset")

    def _fault_list(self) -> dict[str, list[str]]:
        return {"faults": [fault.spec for fault in self._engine.faults.faults]}

    def _change_faults(self, body: bytes) -> object:
        try:
            wanted = msgspec.json.decode(body, type=_FaultList)
            self.set_faults(wanted.faults)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidRequestError(f'send {{"faults": ["SPECIFICATION", …]}}: {error}', param="faults") from None
        except ConfigurationError as error:
            raise InvalidRequestError("; ".join(error.problems), param="faults") from None
        return self._fault_list()

    def _reset(self, _body: bytes) -> object:
        self.reset()
        return {"reset": True}


class RunningSimulator:
    """A simulator that listens. An async context manager: leaving it closes it."""

    def __init__(self, simulator: Simulator, server: Server, url: str) -> None:
        self.simulator = simulator
        self.server = server
        self.url = url
        """The base URL for clients, such as `http://127.0.0.1:4100/v1`."""

    def stats(self) -> dict[str, Any]:
        """As `Simulator.stats`."""
        return self.simulator.stats()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self.server.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def start(settings: Settings, clock: Clock, host: str = "127.0.0.1", port: int = 0) -> RunningSimulator:
    """Run a simulator on `host:port`; port 0 picks a free one.

    Raises `ConfigurationError` when the settings make no sense, OSError when the address cannot be had.
    """
    simulator = Simulator(settings, clock)
    server = Server(simulator.handle)
    bound, number = await server.listen_tcp(host, port)
    shown = f"[{bound}]" if ":" in bound else bound
    return RunningSimulator(simulator, server, f"http://{shown}:{number}/v1")


def _models_request(request: Request, endpoint: Endpoint | None) -> Request:
    """The request, if it asks for models. Raises what everything else gets."""
    is_models = request.path == "/v1/models" or request.path.startswith("/v1/models/")
    if endpoint is not None or (is_models and request.method not in {"GET", "HEAD"}):
        raise MethodNotAllowedError(f"{request.path} does not take {request.method}")
    if not is_models:
        raise NotFoundError(f"unknown request URL: {request.method} {urllib.parse.quote(request.path)}")
    return request


def _plain(counters: Any) -> dict[str, int]:
    found: dict[str, int] = msgspec.structs.asdict(counters)
    return found
