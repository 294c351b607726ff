"""GET /v1/models and /v1/models/NAME: what can be asked for."""

from __future__ import annotations

from urllib.parse import unquote

from ai_client.config.snapshot import App
from ai_client.daemon.answers import send_json
from ai_client.errors import NotFoundError
from ai_client.service import Service
from ai_client.transport.exchange import Exchange


def _object(name: str, owner: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


def _visible(service: Service, app: App) -> list[tuple[str, str]]:
    owners = {target.model: target.provider for target in service.table.models()}
    return [
        (name, owners.get(name, "ai-client")) for name in service.table.known() if not app.models or name in app.models
    ]


def list_models(service: Service, app: App, exchange: Exchange) -> None:
    """All models that the caller may use, the aliases and `auto` among them."""
    data = [_object(name, owner) for name, owner in _visible(service, app)]
    send_json(exchange, {"object": "list", "data": data})


def show_model(service: Service, app: App, exchange: Exchange, name: str) -> None:
    """One model; a slash in its name may come escaped or not. Raises `NotFoundError`."""
    name = unquote(name)
    for known, owner in _visible(service, app):
        if known == name:
            send_json(exchange, _object(known, owner))
            return
    raise NotFoundError(f"there is no model {name!r} here; GET /v1/models lists them", param="model")
