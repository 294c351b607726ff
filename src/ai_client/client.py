"""The library's front door: one asynchronous client, in the caller's own process and event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

import msgspec
from msgspec import structs

from ai_client.build import build, build_local
from ai_client.config.exposure import speaks_tls
from ai_client.config.load import load
from ai_client.errors import AIClientError, InvalidRequestError
from ai_client.lasting import Shared, open_library
from ai_client.model.record import Record
from ai_client.model.reply import Reply, Stream
from ai_client.model.request import Endpoint
from ai_client.model.usage import as_members
from ai_client.service import LOCAL_APP, Ask, Service
from ai_client.transport.sse import DONE, EventParser

Messages = Sequence[Mapping[str, Any]]
"""OpenAI's messages: `[{"role": "user", "content": "…"}, …]`."""


class AsyncAIClient:
    """Calls models through the whole pipeline, in this process.

        async with AsyncAIClient(api_key="hs_…") as client:
            answer = await client.chat_completion([{"role": "user", "content": "Hello"}], model="auto")

    What is not given here comes from the node's configuration (`/etc/ai-client/ai-client.conf`, the environment);
    see docs/reference/configuration.md. What is given goes before it: a key even before a credential or a file of the
    node's. A client belongs to the event loop that first uses it.

    Parameters: `api_key` and `base_url` of the default provider; `max_concurrent` calls at once; `requests_per_minute`
    and `tokens_per_minute` as limits (0: none); `timeout` in seconds for an answer, or a stream's first byte;
    `max_retries` at each target; `config` a configuration file. Raises `ConfigurationError`.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | None = None,
        max_concurrent: int | None = None,
        requests_per_minute: int | None = None,
        *,
        tokens_per_minute: int | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        config: str | os.PathLike[str] | None = None,
    ) -> None:
        sections: dict[str, dict[str, object]] = {
            "api": {"api_key": api_key, "base_url": base_url, "timeout": timeout, "max_retries": max_retries},
            "performance": {"max_concurrent_requests": max_concurrent},
            "limits": {"requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute},
        }
        given = {
            section: {key: str(value) for key, value in keys.items() if value not in (None, "")}
            for section, keys in sections.items()
        }
        loaded = load(Path(config) if config is not None else None, os.environ, given)
        shared = open_library(loaded.config)
        self._begin(build(loaded.config, shared), shared)

    @classmethod
    def local(
        cls, address: str | None = None, *, token: str | None = None, config: str | os.PathLike[str] | None = None
    ) -> AsyncAIClient:
        """A client that goes through this node's daemon, which then limits, retries, caches and records.

        `address` is `unix:PATH`, `HOST:PORT` or, for the TLS listener of a daemon elsewhere, `https://HOST:PORT`;
        without it the one that the configuration's [daemon] listens on, a Unix socket first. `token` is the app's,
        where the daemon asks for one; `config` a configuration file. Raises `ConfigurationError`.
        """
        loaded = load(Path(config) if config is not None else None, os.environ, keys=False)
        listen = loaded.config.daemon.listen
        near = sorted((one for one in listen if not speaks_tls(one)), key=lambda one: not one.startswith("unix:"))
        chosen = address or (near or listen)[0]
        client = cls.__new__(cls)
        # the daemon books what this client spends: once is enough, and the node's ledger may not be ours to open
        local = structs.replace(loaded.config, costs=structs.replace(loaded.config.costs, ledger=None))
        shared = open_library(local)
        client._begin(build_local(local, shared, chosen, token or ""), shared)  # noqa: SLF001  its own class
        return client

    def _begin(self, service: Service, shared: Shared) -> None:
        self._service = service
        self._shared = shared
        self._closed = False

    # ---- asking

    @overload
    async def chat_completion(
        self,
        messages: Messages,
        model: str = ...,
        priority: int = ...,
        *,
        stream: Literal[False] = ...,
        fresh: bool = ...,
        **params: Any,
    ) -> dict[str, Any]: ...

    @overload
    async def chat_completion(
        self,
        messages: Messages,
        model: str = ...,
        priority: int = ...,
        *,
        stream: Literal[True],
        commit: str = ...,
        fresh: bool = ...,
        **params: Any,
    ) -> Chunks: ...

    async def chat_completion(
        self,
        messages: Messages,
        model: str = "",
        priority: int = 5,
        *,
        stream: bool = False,
        commit: str = "",
        fresh: bool = False,
        **params: Any,
    ) -> dict[str, Any] | Chunks:
        """Answer a conversation.

        `model` is a model, an alias, `auto`, or empty for the configured default; `priority` runs from 1 (last) to
        10 (first); `fresh` asks for an answer that no cache gives, and that none keeps; `params` are OpenAI's own
        (`temperature`, `max_tokens`, …), sent as they are. Returns OpenAI's completion object as a dict; with
        `stream=True` an asynchronous iterator over its chunks, as dicts: read it to its end, or `await …aclose()`. With
        `commit="whole"` the first chunk comes once the whole answer is there and sound; a broken one begins again
        elsewhere, unseen.

        The shapes are those of https://platform.openai.com/docs/api-reference/chat. Raises `InvalidRequestError` for
        what cannot be sent, `RateLimitedError` where quota comes too late, `UpstreamError` where the provider failed
        for good, and the others of docs/reference/errors.md; iterating over chunks raises them as well.
        """
        body: dict[str, Any] = {"model": model, "messages": _listed(messages), **params}
        if stream:
            body["stream"] = True
        reply, _ = await self.ask(Endpoint.CHAT, body, priority=priority, commit=commit, fresh=fresh)
        if reply.stream is not None:
            return Chunks(reply.stream)
        return _decoded(reply)

    async def embeddings(
        self,
        input: str | Sequence[str],  # noqa: A002  OpenAI's name
        model: str,
        priority: int = 5,
        **params: Any,
    ) -> dict[str, Any]:
        """Embed one text or several, the vectors in the order of the texts.

        Parameters and errors are those of `chat_completion`. Returns OpenAI's list object as a dict, in which
        `["data"][i]["embedding"]` is a list of floats, or base64 where `encoding_format="base64"` asks for it. The
        shape is that of https://platform.openai.com/docs/api-reference/embeddings.
        """
        texts = input if isinstance(input, str) else list(input)
        reply, _ = await self.ask(Endpoint.EMBEDDINGS, {"model": model, "input": texts, **params}, priority=priority)
        return _decoded(reply)

    async def batch_process(
        self, requests: Sequence[Mapping[str, Any]], model: str = "", *, concurrency: int | None = None
    ) -> list[dict[str, Any] | AIClientError]:
        """Answer many conversations; each request is `{"messages": […], "priority": 5, "model": …, …}`.

        Returns one entry for each request, in order: the completion, or the error that it ended with. One failing
        request leaves the others alone. `model` is for requests that name none; `concurrency` is how many are under way
        at once (default: [batch] concurrency). For files, and for what must survive a crash, use `ai-client batch`.
        """
        gate = asyncio.Semaphore(concurrency or self._service.config.batch.concurrency)

        async def one(request: Mapping[str, Any]) -> dict[str, Any] | AIClientError:
            async with gate:
                try:
                    fields, priority = _item(request, model)
                    reply, _ = await self.ask(Endpoint.CHAT, fields, priority=priority)
                    return _decoded(reply)
                except AIClientError as error:
                    return error

        return list(await asyncio.gather(*(one(request) for request in requests)))

    async def ask(  # noqa: PLR0913  each has its name at every call, and but two a default
        self,
        endpoint: Endpoint,
        body: Mapping[str, Any] | bytes,
        *,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109  the pipeline keeps it
        path: str = "",
        method: str = "POST",
        headers: Sequence[tuple[bytes, bytes]] = (),
        tag: str = "",
        commit: str = "",
        fresh: bool = False,
    ) -> tuple[Reply, Record]:
        """One call of any endpoint: what all the others come down to.

        `body` is a JSON object, or its bytes, which travel as they are. `priority` runs from 1 to 10, 0 for the usual
        one; `timeout` is what the call may take in all, in seconds; `path` (below the base URL) and `method` are for
        `Endpoint.OTHER`; `headers`, their names in lower case, go to the provider; `tag` is the label under which the
        cost is booked. `commit` says when a streamed answer is given out: with its `first_content`, or `whole`; empty:
        as configured. `fresh` asks for an answer that no cache gives.

        Returns the reply and the record of what happened (target, attempts, cost in nano-dollars, times in
        nanoseconds), which is complete once a stream has ended. Raises the errors of `ai_client.errors`, and
        RuntimeError once the client is closed.
        """
        if self._closed:
            raise RuntimeError("this client is closed: make another")
        if not isinstance(body, bytes):
            try:
                body = msgspec.json.encode(body)
            except TypeError as error:
                raise InvalidRequestError(f"the request cannot be written as JSON: {error}") from None
        ask = Ask(endpoint, path, method, list(headers), "", priority, timeout, fresh, tag, commit)
        record = self._service.record(ask, body, LOCAL_APP)
        return await self._service.answer(ask, body, LOCAL_APP, record), record

    # ---- the rest

    def get_stats(self) -> dict[str, Any]:
        """What this client has done since it was made.

        `requests` (answered) and `errors` (failed) are counts by model; `total_requests` is both together,
        `total_errors` the failed, `error_rate` their share, 0 to 1. `avg_latency_ms`, `p50_latency_ms`,
        `p95_latency_ms` and `p99_latency_ms` are milliseconds from asking to the end of the answer, of answered calls,
        the percentiles within 0.8 %. `attempt_failures` counts attempts that failed, `cache_hits` calls that the cache
        answered; `input_tokens`, `output_tokens` and `cost_usd` (US dollars) add up what was spent;
        `unpriced` are calls of which not all has a known price: that part is not in `cost_usd`.
        """
        return dict(self._shared.stats.snapshot())

    async def aclose(self) -> None:
        """Close every connection. Calls under way fail. Harmless a second time."""
        if self._closed:
            return
        self._closed = True
        self._service.close()
        await self._shared.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Chunks:
    """The chunks of a streamed completion, as dicts. Left before its end, it wants to be closed: `async with` does."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._chunks = _chunks(stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Give the rest up, which ends the request at the provider. Harmless after the end."""
        await self._chunks.aclose()
        await self._stream.aclose()  # a generator that never began closes nothing

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _listed(messages: object) -> list[Any]:
    """The messages as a list. Raises `InvalidRequestError` for what is no list of them, such as a model's name."""
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        raise InvalidRequestError(
            'chat_completion takes a list of messages first, such as [{"role": "user", "content": "Hello"}], '
            f"then the model; what came first is of the type {type(messages).__name__}",
            param="messages",
        )
    return list(messages)


def _item(request: object, model: str) -> tuple[dict[str, Any], int]:
    """One request of a batch: its body and its priority. Raises `InvalidRequestError`."""
    if not isinstance(request, Mapping):
        raise InvalidRequestError(f'a request of a batch is like {{"messages": […]}}, not a {type(request).__name__}')
    fields = {"model": model, **request}
    fields.pop("stream", None)  # an answer is due whole
    priority = fields.pop("priority", 5)
    if type(priority) is not int:
        raise InvalidRequestError("priority is a whole number from 1 to 10", param="priority")
    return fields, priority


def _decoded(reply: Reply) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(reply.body, type=dict[str, Any])
    usage = reply.usage
    if usage.estimated and not answer.get("usage"):
        answer["usage"] = as_members(usage)
    return answer


async def _chunks(stream: Stream) -> AsyncGenerator[dict[str, Any]]:
    parser = EventParser()
    try:
        async for piece in stream:
            for event in parser.feed(piece):
                if event.data and event.data != DONE:
                    yield msgspec.json.decode(event.data)
    finally:
        await stream.aclose()
