"""POST /v1/chat/completions and its kind, and every other /v1 path that is passed through."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from ai_client.config.snapshot import App
from ai_client.daemon.answers import send_error, send_stream, send_whole
from ai_client.errors import AIClientError, InvalidRequestError
from ai_client.model.call import Headers
from ai_client.model.request import Endpoint
from ai_client.providers.openai.wire import FORWARDED_REQUEST_HEADERS
from ai_client.service import Ask, Service
from ai_client.transport.exchange import Exchange, Request

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_READ = frozenset(
    {
        b"x-request-id",
        b"x-priority",
        b"x-ai-client-timeout",
        b"x-ai-client-tag",
        b"x-ai-client-commit",
        b"cache-control",
    }
)
"""The headers that mean something here, besides those that the provider sees."""
_READ_HERE = frozenset(endpoint.value for endpoint in Endpoint if endpoint is not Endpoint.OTHER)
_MOST_ESCAPES = 4
_N = TypeVar("_N", int, float)
_D = TypeVar("_D", int, None)


class Caller(msgspec.Struct, frozen=True, gc=False):
    """What a request's head says: who asks, for what, and how it wants to be treated."""

    app: App
    wish: Ask


async def ask(service: Service, caller: Caller, body: bytes, exchange: Exchange) -> None:
    """Take a request through the pipeline and answer it."""
    app = caller.app
    wish = caller.wish
    record = service.record(wish, body, app)
    try:
        reply = await service.answer(wish, body, app, record)
    except AIClientError as error:
        send_error(exchange, error, record)
        error.__traceback__ = None  # who keeps the error keeps no frame of this call
        return
    if reply.stream is None:
        send_whole(exchange, reply, record)
    else:
        await send_stream(exchange, reply, reply.stream, record)


def read(request: Request, endpoint: Endpoint, path: str) -> Ask:
    """The request but for its body; `path` is what follows /v1. Raises `InvalidRequestError`."""
    if endpoint is Endpoint.OTHER:
        path = _safe(path) + (f"?{request.query}" if request.query else "")
    headers: Headers = []
    said: dict[bytes, bytes] = {}
    for pair in request.headers:
        name = pair[0]
        if name in FORWARDED_REQUEST_HEADERS:
            headers.append(pair)
        elif name in _READ:
            said[name] = pair[1]
    request_id = said.get(b"x-request-id", b"")
    freshness = said.get(b"cache-control", b"")
    return Ask(
        endpoint,
        path,
        request.method,
        headers,
        request_id.decode("latin-1") if _REQUEST_ID.fullmatch(request_id) else "",
        _number(said, b"x-priority", int, 0),
        _number(said, b"x-ai-client-timeout", float, None),
        b"no-cache" in freshness or b"no-store" in freshness,
        said.get(b"x-ai-client-tag", b"").decode("latin-1")[:64],
        said.get(b"x-ai-client-commit", b"").decode("latin-1"),
    )


def _number(said: dict[bytes, bytes], name: bytes, kind: Callable[[bytes], _N], default: _D) -> _N | _D:
    value = said.get(name)
    if value is None:
        return default
    try:
        return kind(value)
    except ValueError:
        header = name.decode("latin-1")
        raise InvalidRequestError(f"the header {header} is not a number", param=header) from None


def _safe(path: str) -> str:
    """A path that stays below the provider's base URL, however the provider may read it.

    Some servers unescape before they resolve dots, and behind a proxy twice, take a backslash for a slash, leave out
    what follows a semicolon, or an empty segment. So what they may take for an endpoint that is counted and paid for
    here is not let through as something else.
    """
    plain = path
    for _ in range(_MOST_ESCAPES):
        escaped, plain = plain, unquote(plain, "latin-1")
        if plain == escaped:
            break
    else:
        raise InvalidRequestError("the path is escaped again and again: escape it once")
    if any(character < " " or character == "\x7f" for character in plain):
        raise InvalidRequestError("the path has characters that no path has, such as a line end")
    segments = [segment.partition(";")[0] for segment in plain.split("/")]
    if "\\" in plain or not {".", ".."}.isdisjoint(segments):
        raise InvalidRequestError("the path climbs out of /v1: write it without . and ..")
    meant = "/" + "/".join(filter(None, segments)).lower()
    if meant in _READ_HERE:
        raise InvalidRequestError(f"the path means /v1{meant}: write it so")
    return path
