"""The daemon's one handler: who calls, which route, and the service that answers now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from ai_client.config.snapshot import App
from ai_client.daemon.answers import send_error
from ai_client.daemon.auth import Gate
from ai_client.daemon.routes import health, models
from ai_client.daemon.routes.ask import Caller, ask, read
from ai_client.errors import AIClientError, MethodNotAllowedError, NotFoundError
from ai_client.model.request import Endpoint
from ai_client.service import Service
from ai_client.transport.exchange import Exchange, Request

_ENDPOINTS: Mapping[str, Endpoint] = {
    f"/v1{endpoint}": endpoint
    for endpoint in (Endpoint.CHAT, Endpoint.COMPLETIONS, Endpoint.EMBEDDINGS, Endpoint.RESPONSES)
}
_READ_ONLY = frozenset({"/health/live", "/health/ready", "/health/limits", "/metrics", "/v1/models"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})

Render = Callable[[bytes | None], tuple[bytes, str]]
"""Renders the metrics for a request's Accept header: the body and its content type."""


class Handler:
    """Answers requests with the service that is current when they arrive; `serve` swaps it on a reload."""

    def __init__(self, service: Service, gate: Gate, render_metrics: Render | None) -> None:
        self.service = service
        self.gate = gate
        self.state = health.State()
        self._render = render_metrics

    def __call__(self, request: Request, exchange: Exchange) -> Awaitable[None] | None:
        """Answer at once, or hand back the coroutine that will."""
        try:
            known: Caller | None = request.notes.get(self.gate)
            if known is None:
                self.gate.keep_pages_out(request)
                endpoint = _ENDPOINTS.get(request.path)
                if endpoint is None:
                    return self._elsewhere(request, exchange)
                if request.method != "POST":
                    raise _WrongMethodError(request, "POST")
                known = Caller(self.gate.identify(request), read(request, endpoint, endpoint))
                request.notes[self.gate] = known
        except _WrongMethodError as error:
            send_error(exchange, error, headers=((b"allow", error.allowed.encode("latin-1")),))
            return None
        except AIClientError as error:
            send_error(exchange, error)
            return None
        return ask(self.service, known, request.body, exchange)

    def from_afar(self, request: Request, exchange: Exchange) -> Awaitable[None] | None:
        """The same for a listener that other machines can reach: only `/health/live` is told to somebody unknown."""
        if request.path != "/health/live":
            try:
                self.gate.identify(request)
            except AIClientError as error:
                send_error(exchange, error)
                return None
        return self(request, exchange)

    def _elsewhere(self, request: Request, exchange: Exchange) -> Awaitable[None] | None:
        path = request.path
        if path in _READ_ONLY and request.method not in ("GET", "HEAD"):
            raise _WrongMethodError(request, "GET")
        if path == "/health/live":
            health.live(exchange)
        elif path == "/health/ready":
            health.ready(self.service, self.state, exchange)
        elif path == "/health/limits":
            health.limits(self.service, exchange)
        elif path == "/metrics":
            self.metrics(request, exchange)
        elif path.startswith("/v1/"):
            return self._v1(request, exchange, self.gate.identify(request))
        else:
            raise NotFoundError(
                f"there is nothing at {path}: the API is under /v1/, health under /health/, metrics at /metrics"
            )
        return None

    def _v1(self, request: Request, exchange: Exchange, app: App) -> Awaitable[None] | None:
        path = request.path[3:]
        if path == "/models":
            models.list_models(self.service, app, exchange)
            return None
        if path.startswith("/models/") and request.method in ("GET", "HEAD"):
            models.show_model(self.service, app, exchange, path.removeprefix("/models/"))
            return None
        if request.method not in _METHODS:
            raise _WrongMethodError(request, ", ".join(sorted(_METHODS)))
        return ask(self.service, Caller(app, read(request, Endpoint.OTHER, path)), request.body, exchange)

    def metrics(self, request: Request, exchange: Exchange) -> None:
        """GET /metrics. Raises `NotFoundError` where metrics are off."""
        if self._render is None:
            raise NotFoundError("metrics are off: set enable_metrics and export_prometheus in [monitoring]")
        body, content_type = self._render(request.header(b"accept"))
        exchange.send(200, ((b"content-type", content_type.encode("latin-1")),), body)


class _WrongMethodError(MethodNotAllowedError):
    """Its answer says in a header, too, which methods are right (RFC 9110 section 15.5.6)."""

    def __init__(self, request: Request, allowed: str) -> None:
        super().__init__(f"{request.path} takes {allowed}, not {request.method[:20]}")
        self.allowed = allowed
