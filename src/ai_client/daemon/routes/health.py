"""GET /health/live and /health/ready."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ai_client._version import __version__
from ai_client.daemon.answers import send_json
from ai_client.service import Service
from ai_client.transport.exchange import Exchange


class State(msgspec.Struct):
    """What the daemon knows of itself."""

    draining: bool = False
    reload_failed: str = ""


def live(exchange: Exchange) -> None:
    """The process answers: that is all this says."""
    send_json(exchange, {"status": "live", "version": __version__})


def ready(service: Service, state: State, exchange: Exchange) -> None:
    """200 while new calls are welcome; 503 while the daemon drains."""
    config = service.config
    body = {
        "status": "draining" if state.draining else "ready",
        "version": __version__,
        "in_flight": service.in_flight,
        "providers": {
            name: {"base_url": each.base_url, "key": each.api_key is not None, "verify_ssl": each.verify_ssl}
            for name, each in config.endpoints.items()
        },
        "limits": _limits_in_short(service.limits()),
        "circuits": service.circuits(),
        "refused_keys": service.refused_keys(),
        "reload_failed": state.reload_failed or None,
    }
    send_json(exchange, body, 503 if state.draining else 200)


def _limits_in_short(state: Mapping[str, Any]) -> dict[str, Any]:
    """How limits are kept, and whose are configured above what the provider grants."""
    short = {key: value for key, value in state.items() if key in ("mode", "members", "share", "places")}
    clamped = {name: each["clamped"] for name, each in state.get("told", {}).items() if each["clamped"]}
    return {**short, "clamped": clamped}


def limits(service: Service, exchange: Exchange) -> None:
    """How every limit stands."""
    send_json(exchange, service.limits())
