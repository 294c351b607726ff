"""POST /v1/chat/completions and its kind, and every other /v1 path that is passed through."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote

from ai_client.config.snapshot import App
from ai_client.daemon.answers import send_error, send_stream, send_whole
from ai_client.errors import AIClientError, InvalidRequestError
from ai_client.model.call import Headers
from ai_client.model.request import Endpoint
from ai_client.providers.openai.wire import FORWARDED_REQUEST_HEADERS
from ai_client.service import Ask, Service
from ai_client.transport.exchange import Exchange, Request

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_READ = FORWARDED_REQUEST_HEADERS | {
    b"x-request-id",
    b"x-priority",
    b"x-ai-client-timeout",
    b"x-ai-client-tag",
    b"cache-control",
}
"""The headers that mean something here; the rest, most of them, is passed over with one look."""
_N = TypeVar("_N", int, float)


async def ask(service: Service, app: App, request: Request, exchange: Exchange, endpoint: Endpoint, path: str) -> None:
    """Take a request through the pipeline and answer it. `path` is what follows /v1."""
    try:
        question = _read(request, endpoint, path)
    except AIClientError as error:
        send_error(exchange, error)
        return
    record = service.record(question, app)
    try:
        reply = await service.answer(question, app, record)
    except AIClientError as error:
        send_error(exchange, error, record)
        return
    if reply.stream is None:
        send_whole(exchange, reply, record)
    else:
        await send_stream(exchange, reply, reply.stream, record)


def _read(request: Request, endpoint: Endpoint, path: str) -> Ask:
    """The request's own words about how it wants to be treated. Raises `InvalidRequestError`."""
    request_id = ""
    priority = 0
    timeout: float | None = None
    fresh = False
    tag = ""
    headers: Headers = []
    for pair in request.headers:
        name, value = pair
        if name not in _READ:
            continue
        if name in FORWARDED_REQUEST_HEADERS:
            headers.append(pair)
        elif name == b"x-request-id":
            if _REQUEST_ID.fullmatch(value):
                request_id = value.decode("latin-1")
        elif name == b"x-priority":
            priority = _number(name, value, int)
        elif name == b"x-ai-client-timeout":
            timeout = _number(name, value, float)
        elif name == b"x-ai-client-tag":
            tag = value.decode("latin-1")[:64]
        elif name == b"cache-control":
            fresh = b"no-cache" in value or b"no-store" in value
    if endpoint is Endpoint.OTHER:
        path = _safe(path) + (f"?{request.query}" if request.query else "")
    return Ask(endpoint, request.body, path, request.method, headers, request_id, priority, timeout, fresh, tag)


def _number(name: bytes, value: bytes, kind: Callable[[bytes], _N]) -> _N:
    try:
        return kind(value)
    except ValueError:
        header = name.decode("latin-1")
        raise InvalidRequestError(f"the header {header} is not a number", param=header) from None


def _safe(path: str) -> str:
    """A path that stays below the provider's base URL, however the provider may read it.

    Some servers unescape before they resolve dots, take a backslash for a slash, or leave out what follows a semicolon.
    """
    plain = unquote(path, "latin-1")
    if "\\" in plain or any(segment.partition(";")[0] in (".", "..") for segment in plain.split("/")):
        raise InvalidRequestError("the path climbs out of /v1: write it without . and ..")
    return path
