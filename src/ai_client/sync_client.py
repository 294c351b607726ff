"""The synchronous face: the same client, on an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

import uvloop

from ai_client.client import AsyncAIClient, Chunks, Messages
from ai_client.errors import AIClientError

T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread: it runs coroutines for threads that have none."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._loop.run_forever, name="ai-client", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """It runs nothing any more."""
        return self._closed

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, or its error. An interrupt of the waiting thread cancels the coroutine.

        Raises RuntimeError once it is closed; whoever waits at that moment gets `concurrent.futures.CancelledError`.
        """
        with self._lock:
            if self._closed:
                coroutine.close()
                raise RuntimeError("this client is closed: make another")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Run `last`, cancel what still runs, and stop the loop and its thread. Harmless a second time."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(_end(last), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end(last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
    if last is not None:
        await last()
    # nobody must wait for ever for a loop that has stopped
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


class AIClient:
    """`AsyncAIClient` for code without an event loop; same parameters, same answers, same errors.

        with AIClient(api_key="hs_…") as client:
            print(client.chat_completion([{"role": "user", "content": "Hello"}])["choices"][0]["message"]["content"])

    Threads may share one client. Close it, or use it in a `with`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._begin(lambda: AsyncAIClient(*args, **kwargs))

    @classmethod
    def local(
        cls, address: str | None = None, *, token: str | None = None, config: str | os.PathLike[str] | None = None
    ) -> Self:
        """A client that goes through this node's daemon; see `AsyncAIClient.local`."""
        client = cls.__new__(cls)
        client._begin(lambda: AsyncAIClient.local(address, token=token, config=config))  # noqa: SLF001  its own class
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
    def chat_completion(
        self,
        messages: Messages,
        model: str = ...,
        priority: int = ...,
        *,
        stream: Literal[True],
        commit: str = ...,
        fresh: bool = ...,
        **params: Any,
    ) -> SyncChunks: ...

    def chat_completion(
        self, messages: Messages, model: str = "", priority: int = 5, *, stream: bool = False, **params: Any
    ) -> dict[str, Any] | SyncChunks:
        """Answer a conversation: a dict, or with `stream=True` an iterator over its chunks, as dicts.

        Parameters (`commit` and `fresh` among them), shapes and errors are those of `AsyncAIClient.chat_completion`.
        """
        if stream:
            chunks = self._thread.run(self._client.chat_completion(messages, model, priority, stream=True, **params))
            return SyncChunks(self._thread, chunks)
        answer: dict[str, Any] = self._thread.run(self._client.chat_completion(messages, model, priority, **params))
        return answer

    def embeddings(self, input: str | Sequence[str], model: str, priority: int = 5, **params: Any) -> dict[str, Any]:  # noqa: A002
        """Embed one text or several; shapes and errors as of `AsyncAIClient.embeddings`."""
        return self._thread.run(self._client.embeddings(input, model, priority, **params))

    def batch_process(
        self, requests: Sequence[Mapping[str, Any]], model: str = "", *, concurrency: int | None = None
    ) -> list[dict[str, Any] | AIClientError]:
        """Answer many conversations, one entry for each, in order; see `AsyncAIClient.batch_process`."""
        return self._thread.run(self._client.batch_process(requests, model, concurrency=concurrency))

    def get_stats(self) -> dict[str, Any]:
        """What this client has done since it was made; names and units as of `AsyncAIClient.get_stats`."""
        return self._client.get_stats()

    def close(self) -> None:
        """Close every connection, and the thread. Calls under way fail. Harmless a second time."""
        self._thread.close(self._client.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class SyncChunks:
    """The chunks of a streamed completion, as dicts. Left before its end, it wants to be closed: `with` does."""

    def __init__(self, thread: LoopThread, chunks: Chunks) -> None:
        self._thread = thread
        self._chunks = chunks
        self._steps = _read(thread, chunks)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, Any]:
        return next(self._steps)

    def close(self) -> None:
        """Give the rest up, which ends the request at the provider. Harmless after the end."""
        self._steps.close()
        _give_up(self._thread, self._chunks)  # a generator that never began closes nothing

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read(thread: LoopThread, chunks: Chunks) -> Generator[dict[str, Any]]:
    # a generator, because Python closes one as soon as nobody refers to it: `break` out of a loop is enough
    try:
        while (chunk := thread.run(_next(chunks))) is not None:
            yield chunk
    finally:
        _give_up(thread, chunks)


async def _made(make: Callable[[], AsyncAIClient]) -> AsyncAIClient:
    return make()


async def _next(chunks: Chunks) -> dict[str, Any] | None:
    return await anext(chunks, None)


def _give_up(thread: LoopThread, chunks: Chunks) -> None:
    if not thread.closed:
        thread.run(chunks.aclose())
