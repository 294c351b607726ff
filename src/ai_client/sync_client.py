"""The synchronous face: the same client, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import uvloop

from ai_client.client import AsyncAIClient, Messages
from ai_client.errors import AIClientError

T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread: it runs coroutines for threads that have none."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ai-client", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, or its error. An interrupt of the waiting thread cancels the coroutine."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Stop the loop and its thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()


class AIClient:
    """`AsyncAIClient` for code without an event loop; same parameters, same answers, same errors.

        with AIClient(api_key="hs_…") as client:
            print(client.chat_completion([{"role": "user", "content": "Hello"}])["choices"][0]["message"]["content"])

    Threads may share one client. Close it, or use it in a `with`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._begin(lambda: AsyncAIClient(*args, **kwargs))

    @classmethod
    def local(cls, address: str | None = None, *, token: str | None = None) -> Self:
        """A client that goes through this node's daemon; see `AsyncAIClient.local`."""
        client = cls.__new__(cls)
        client._begin(lambda: AsyncAIClient.local(address, token=token))
        return client

    def _begin(self, make: Callable[[], AsyncAIClient]) -> None:
        self._thread = LoopThread()
        try:
            self._client = self._thread.run(_made(make))
        except BaseException:
            self._thread.close()
            raise

    @overload
    def chat_completion(
        self, messages: Messages, model: str = ..., priority: int = ..., *, stream: Literal[False] = ..., **params: Any
    ) -> dict[str, Any]: ...

    @overload
    def chat_completion(
        self, messages: Messages, model: str = ..., priority: int = ..., *, stream: Literal[True], **params: Any
    ) -> Iterator[dict[str, Any]]: ...

    def chat_completion(
        self, messages: Messages, model: str = "", priority: int = 5, *, stream: bool = False, **params: Any
    ) -> dict[str, Any] | Iterator[dict[str, Any]]:
        """Answer a conversation: a dict, or with `stream=True` an iterator over its chunks."""
        if stream:
            return self._iterate(
                self._thread.run(self._client.chat_completion(messages, model, priority, stream=True, **params))
            )
        return self._thread.run(self._client.chat_completion(messages, model, priority, **params))

    def embeddings(self, input: str | Sequence[str], model: str, priority: int = 5, **params: Any) -> dict[str, Any]:  # noqa: A002
        """Embed one text or several; see `AsyncAIClient.embeddings`."""
        return self._thread.run(self._client.embeddings(input, model, priority, **params))

    def batch_process(
        self, requests: Sequence[Mapping[str, Any]], model: str = "", *, concurrency: int | None = None
    ) -> list[dict[str, Any] | AIClientError]:
        """Answer many conversations; see `AsyncAIClient.batch_process`."""
        return self._thread.run(self._client.batch_process(requests, model, concurrency=concurrency))

    def get_stats(self) -> dict[str, Any]:
        """What this client has done; see `AsyncAIClient.get_stats`."""
        return self._client.get_stats()

    def close(self) -> None:
        """Close every connection, and the thread. Harmless a second time."""
        if not self._closed:
            self._closed = True
            self._thread.run(self._client.aclose())
            self._thread.close()

    _closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _iterate(self, chunks: AsyncIterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        try:
            while True:
                try:
                    yield self._thread.run(_next(chunks))
                except StopAsyncIteration:
                    return
        finally:
            self._thread.run(_closing(chunks))


async def _made(make: Callable[[], AsyncAIClient]) -> AsyncAIClient:
    return make()


async def _next(chunks: AsyncIterator[T]) -> T:
    return await anext(chunks)


async def _closing(chunks: AsyncIterator[Any]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()
