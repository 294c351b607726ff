"""The official `openai` SDK on our pipeline: its own clients, with a transport that never leaves this process.

Needs the extra `openai`. Works with the SDK's versions from 1.12 on: those up to 2 speak through `httpx`, later ones
through its successor `httpx2`; both have the same transport interface, and the installed SDK decides.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, TypeVar

from ai_client.answers import error_event, error_headers, error_json, told, told_whole
from ai_client.client import AsyncAIClient
from ai_client.errors import AIClientError, InvalidRequestError
from ai_client.model.record import Record
from ai_client.model.reply import Reply, Stream
from ai_client.model.request import Endpoint
from ai_client.providers.openai.wire import forwarded
from ai_client.sync_client import LoopThread

try:
    import openai
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "get_client() and get_async_client() give the official SDK's clients: pip install 'ai-client[openai]'"
    ) from missing

_legacy = not hasattr(importlib.import_module("openai._base_client"), "httpx2")
_httpx: Any = importlib.import_module("httpx" if _legacy else "httpx2")

N = TypeVar("N")

_BASE_URL = "http://ai-client.invalid/v1"
"""RFC 2606: a name that cannot be reached, should a request ever slip past the transport."""

_ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.value: endpoint for endpoint in Endpoint if endpoint is not Endpoint.OTHER
}


def get_async_client(client: AsyncAIClient | None = None, **options: Any) -> openai.AsyncOpenAI:
    """The SDK's `AsyncOpenAI`, running on `client` (default: a new `AsyncAIClient()` from the node's configuration).

    `api_key` and `base_url` are those of the new `AsyncAIClient`, further `options` go to the SDK. Its own retries are
    off: the pipeline retries. Its timeout (seconds) bounds a call in all, and `extra_headers` mean what the daemon
    takes them for (`x-priority`, `x-ai-client-timeout`, `x-ai-client-tag`, `x-ai-client-commit`, `cache-control`; see
    docs/reference/http.md). Shapes and errors are the SDK's, an error's status and code those of
    docs/reference/errors.md. Closing it closes the client.

    Raises `ConfigurationError`, and TypeError for a key or URL beside a `client`, which has its own.
    """
    ours = _taken(options)
    if client is not None and ours:
        raise TypeError(f"{' and '.join(ours)}: give it to the client, which asks the provider")
    transport = _AsyncTransport(client or AsyncAIClient(**ours))
    http_client = _httpx.AsyncClient(transport=transport, base_url=_BASE_URL)
    return openai.AsyncOpenAI(**_options(options), http_client=http_client)


def get_client(**options: Any) -> openai.OpenAI:
    """The SDK's `OpenAI`, running on an `AsyncAIClient` made from the node's configuration, in a thread of its own.

    `api_key` and `base_url` are that client's, further `options` go to the SDK; retries, timeout, headers and errors
    are as with `get_async_client`. Close it when done. Raises `ConfigurationError`.
    """
    ours = _taken(options)
    transport = _SyncTransport(LoopThread(), ours)
    http_client = _httpx.Client(transport=transport, base_url=_BASE_URL)
    return openai.OpenAI(**_options(options), http_client=http_client)


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    """What concerns the provider, out of the SDK's options: the SDK itself only ever speaks to our transport."""
    given = {name: options.pop(name, None) for name in ("api_key", "base_url")}
    return {name: str(value) for name, value in given.items() if value is not None}


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return {"api_key": "held by ai-client", "base_url": _BASE_URL, "max_retries": 0, **options}


class _AsyncTransport(_httpx.AsyncBaseTransport):  # type: ignore[misc]  # the module is chosen at run time
    def __init__(self, client: AsyncAIClient) -> None:
        self._client = client

    async def handle_async_request(self, request: Any) -> Any:
        status, headers, body, stream = await _ask(self._client, request, await request.aread())
        if stream is not None:
            return _httpx.Response(status, headers=headers, stream=_AsyncBody(stream))
        return _httpx.Response(status, headers=headers, content=body)

    async def aclose(self) -> None:
        await self._client.aclose()


class _AsyncBody(_httpx.AsyncByteStream):  # type: ignore[misc]  # as above
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except AIClientError as error:
            yield error_event(error)
            raise _httpx.RemoteProtocolError(error.message) from error

    async def aclose(self) -> None:
        await self._stream.aclose()


class _SyncTransport(_httpx.BaseTransport):  # type: ignore[misc]  # as above
    def __init__(self, thread: LoopThread, ours: dict[str, Any]) -> None:
        self._thread = thread
        try:
            self._client = thread.run(_new_client(ours))
        except BaseException:
            thread.close()
            raise

    def handle_request(self, request: Any) -> Any:
        status, headers, body, stream = self._thread.run(_ask(self._client, request, request.read()))
        if stream is not None:
            return _httpx.Response(status, headers=headers, stream=_SyncBody(self._thread, stream))
        return _httpx.Response(status, headers=headers, content=body)

    def close(self) -> None:
        self._thread.close(self._client.aclose)


class _SyncBody(_httpx.SyncByteStream):  # type: ignore[misc]  # as above
    def __init__(self, thread: LoopThread, stream: Stream) -> None:
        self._thread = thread
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        while True:
            try:
                piece = self._thread.run(_next(self._stream))
            except AIClientError as error:
                yield error_event(error)
                raise _httpx.RemoteProtocolError(error.message) from error
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        if not self._thread.closed:
            self._thread.run(self._stream.aclose())


async def _new_client(ours: dict[str, Any]) -> AsyncAIClient:
    return AsyncAIClient(**ours)


async def _next(stream: Stream) -> bytes | None:
    """The next piece, None at the end: a StopAsyncIteration does not travel between threads."""
    async for piece in stream:
        return piece
    return None


Answer = tuple[int, list[tuple[bytes, bytes]], bytes, Stream | None]


def _number(request: Any, name: str, kind: Callable[[str], N], default: N) -> N:
    """What a header says, as the daemon would take it. Raises `InvalidRequestError`."""
    said = request.headers.get(name)
    if said is None:
        return default
    try:
        return kind(said)
    except ValueError:
        raise InvalidRequestError(f"the header {name} is not a number", param=name) from None


async def _ask(client: AsyncAIClient, request: Any, body: bytes) -> Answer:
    path = request.url.raw_path.decode("ascii").removeprefix("/v1")
    endpoint = _ENDPOINTS.get(path, Endpoint.OTHER) if request.method == "POST" else Endpoint.OTHER
    headers = forwarded([(name.lower(), value) for name, value in request.headers.raw])
    freshness = request.headers.get("cache-control", "")
    patience: float | None = request.extensions.get("timeout", {}).get("read")
    record: Record | None = None
    try:
        reply: Reply
        reply, record = await client.ask(
            endpoint,
            body,
            priority=_number(request, "x-priority", int, 0),
            timeout=_number(request, "x-ai-client-timeout", float, patience),
            path=path,
            method=request.method,
            headers=headers,
            tag=request.headers.get("x-ai-client-tag", "")[:64],
            commit=request.headers.get("x-ai-client-commit", ""),
            fresh="no-cache" in freshness or "no-store" in freshness,
        )
    except AIClientError as error:
        return error.status, error_headers(error), error_json(error), None
    said = told(record) if reply.stream is not None else told_whole(record)
    return reply.status, reply.headers + said, reply.body, reply.stream
