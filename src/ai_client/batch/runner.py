"""Answers the lines of a batch, so many at a time, until all are done or something ends it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, Protocol

import msgspec

from ai_client.batch.job import Ending
from ai_client.batch.reader import Blank, Item, Line, Rejected
from ai_client.batch.store import Answered, Failed, Store
from ai_client.batch.tally import Tally
from ai_client.clock import Clock
from ai_client.errors import RETRYABLE_STATUSES, AIClientError, BrokenReplyError
from ai_client.model.record import Record
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint
from ai_client.providers.openai.answers import read_answer
from ai_client.routing.retry import backoff

_PASSING: Final = frozenset({429, 503, 529})
"""Statuses that say: not now. Waiting helps, so the line is asked again within the same run."""
_UNREACHED: Final = frozenset({"connect_error", "connect_timeout"})
"""Codes that say: the provider is not there, for this process or for the daemon that it asks. Waiting helps as well."""

_UNAUTHORIZED: Final = 401
# A call has been tried more than once before it fails: asked at once again, one target would see too many in a row.
_LEAST_WAIT_S: Final = 3.0
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_SYNC_NS: Final = 5_000_000_000
_BREATH: Final = 64  # lines in one go, where nothing has to be waited for: calls under way want the event loop, too


class Asker(Protocol):
    """Who answers: an `AsyncAIClient`."""

    async def ask(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109  the pipeline keeps it
    ) -> tuple[Reply, Record]:
        """One call; raises the errors of `ai_client.errors`."""


class Settings(msgspec.Struct, frozen=True):
    """How to ask: `concurrency` calls at once, each with this `priority` (1 to 10) and `timeout` (seconds, None for
    the configured one). `patience` is how many seconds one line waits for quota or for a connection; `grace` how
    many seconds calls under way get when the run is stopped.
    """

    concurrency: int
    priority: int = 0
    timeout: float | None = None
    patience: float = 120.0
    grace: float = 5.0


class Surroundings(msgspec.Struct, frozen=True):
    """Time and chance, and who hears what goes on: `watch` of every line that was counted, `waits` of the seconds for
    which all calls are put off, and why.
    """

    clock: Clock
    rng: random.Random
    watch: Callable[[Tally], None]
    waits: Callable[[float, AIClientError], None]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Runner:
    """One run over one input."""

    def __init__(
        self,
        asker: Asker,
        lines: Iterator[Line],
        store: Store,
        tally: Tally,
        settings: Settings,
        around: Surroundings,
    ) -> None:
        self.reason = ""
        """Why the run ended, where there is something to say."""
        self._asker = asker
        self._lines = lines
        self._store = store
        self._tally = tally
        self._settings = settings
        self._around = around
        self._ending: Ending | None = None
        self._stop = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._holding: set[asyncio.Task[None]] = set()
        self._hold_until_ns = 0
        self._gave_up_at = -1  # how many answers there were when a line last ran out of patience
        self._turns = 0
        self._started_ns = around.clock.monotonic_ns()
        self._synced_ns = self._started_ns
        self._syncing: asyncio.Future[None] | None = None

    @property
    def elapsed_ns(self) -> int:
        """Nanoseconds since the run began."""
        return self._around.clock.monotonic_ns() - self._started_ns

    @property
    def under_way(self) -> int:
        """Calls that have been asked and not answered."""
        return len(self._workers - self._holding)

    def stop(self) -> None:
        """Take no more lines; calls under way get a few seconds to end. The second time, they are dropped at once."""
        if self._ending is not None:
            _cancel(self._workers)
        self._end(Ending.INTERRUPTED, "")

    async def run(self) -> Ending:
        """Work until there is nothing left to do, or nothing more can be done. Does not close the store."""
        count = min(self._settings.concurrency, max(1, self._tally.lines))
        self._workers = {asyncio.create_task(self._work()) for _ in range(count)}
        stopped = asyncio.create_task(self._stopped())
        try:
            while self._workers and not stopped.done():
                done, _ = await asyncio.wait({*self._workers, stopped}, return_when=asyncio.FIRST_COMPLETED)
                self._drop(done)
            if self._workers and self._ending is not Ending.WRITE_FAILED:  # else there is no place for an answer
                done, _ = await asyncio.wait(self._workers, timeout=self._settings.grace)
                self._drop(done)
        finally:
            _cancel({*self._workers, stopped})
            await asyncio.gather(*self._workers, stopped, return_exceptions=True)
            if self._syncing is not None:
                await asyncio.gather(self._syncing, return_exceptions=True)
        if self._ending is None and self._tally.done < self._tally.lines:
            self._end(Ending.UNREADABLE, "the input became shorter while it was read")
        return self._ending or Ending.COMPLETE

    async def _stopped(self) -> None:
        await self._stop.wait()

    def _drop(self, done: set[asyncio.Task[None]]) -> None:
        """Let go of workers that are through. One that failed in a way nobody foresaw fails the run."""
        for task in done & self._workers:
            self._workers.discard(task)
            if not task.cancelled():
                task.result()

    def _end(self, ending: Ending, reason: str) -> None:
        """End the run; the first reason counts."""
        if self._ending is None:
            self._ending, self.reason = ending, reason
            self._stop.set()
            _cancel(self._holding)

    async def _work(self) -> None:
        """Take lines from the one iterator that all workers share, until there are no more."""
        while self._ending is None and (line := self._next()) is not None:
            if isinstance(line, Item) and line.line not in self._store:
                await self._answer(line)
            else:
                self._pass_over(line)
            self._turns += 1
            if self._turns % _BREATH == 0:
                await asyncio.sleep(0)

    def _next(self) -> Line | None:
        try:
            return next(self._lines, None)
        except OSError as error:
            self._end(Ending.UNREADABLE, f"the input cannot be read further: {error.strerror}")
            return None

    def _pass_over(self, line: Line) -> None:
        """A line with nothing to ask: blank, broken, or done in an earlier run."""
        if isinstance(line, Blank):
            self._pass_over_blank(line)
        elif isinstance(line, Rejected):
            self._fail(Failed(line.line, line.custom_id, line.code, line.message))

    def _pass_over_blank(self, line: Blank) -> None:
        """Told by its number like the broken ones, for it may be where a line was lost; but it fails nothing."""
        try:
            self._store.failure(Failed(line.line, None, "blank_line", f"line {line.line} is blank: nothing was asked"))
        except OSError as error:
            self._cannot_write(error)
            return
        self._tally.blank += 1

    async def _answer(self, item: Item) -> None:
        """Ask until there is an answer, an error that will stay, or no patience left."""
        begun_ns = self._around.clock.monotonic_ns()
        tries = 0
        while True:
            await self._hold()
            try:
                answer = await self._asked(item)
            except AIClientError as error:
                tries += 1
                if error.status == _UNAUTHORIZED:
                    self._end(Ending.REFUSED, error.message)
                if self._ending is not None:
                    return  # its line comes again in the next run
                waited = (self._around.clock.monotonic_ns() - begun_ns) / 1e9
                wait = error.retry_after or backoff(tries, _FIRST_WAIT_S, _LONGEST_WAIT_S, self._around.rng)
                wait = max(wait, _LEAST_WAIT_S)
                if _is_passing(error) and waited + wait <= self._settings.patience:
                    self._put_off(wait, error)
                else:
                    self._give_up(item, error)
                    return
            else:
                self._write(answer)
                return

    async def _asked(self, item: Item) -> Answered:
        settings = self._settings
        reply, record = await self._asker.ask(
            item.endpoint, item.body, priority=settings.priority, timeout=settings.timeout
        )
        return _answered(item, reply, record)

    def _give_up(self, item: Item, error: AIClientError) -> None:
        """Record the error; but when one line after another ran out of patience and none was answered between, end
        the run: asking on would only turn the rest of the input into errors.
        """
        if _is_passing(error):
            if self._gave_up_at == self._tally.answered:
                self._end(Ending.UNAVAILABLE, error.message)
                return
            self._gave_up_at = self._tally.answered
        self._fail(_failed(item, error))

    def _put_off(self, seconds: float, error: AIClientError) -> None:
        """Have every worker wait: what one of them was told holds for the others, who would only hear it again."""
        now = self._around.clock.monotonic_ns()
        if self._hold_until_ns <= now:  # those who hear it at the same time need not say it too
            self._around.waits(seconds, error)
        self._hold_until_ns = max(self._hold_until_ns, now + int(seconds * 1e9))

    async def _hold(self) -> None:
        """Wait while the run is put off, and a little longer each, so that not all come back at one moment."""
        task = asyncio.current_task()
        assert task is not None
        self._holding.add(task)
        try:
            while (left := self._hold_until_ns - self._around.clock.monotonic_ns()) > 0:
                await self._around.sleep(left / 1e9 + self._around.rng.uniform(0, min(left / 4e9, 1.0)))
        finally:
            self._holding.discard(task)

    def _write(self, answer: Answered) -> None:
        try:
            self._store.answer(answer)
        except OSError as error:
            self._cannot_write(error)
            return
        self._tally.answer(answer, self.elapsed_ns)
        self._around.watch(self._tally)
        self._sync_at_times()

    def _fail(self, failed: Failed) -> None:
        try:
            self._store.failure(failed)
        except OSError as error:
            self._cannot_write(error)
            return
        self._tally.failure(failed)
        self._around.watch(self._tally)

    def _cannot_write(self, error: OSError) -> None:
        self._end(Ending.WRITE_FAILED, f"an answer could not be written: {error.strerror}")

    def _sync_at_times(self) -> None:
        """Now and then have the disk confirm what was written, beside the calls: a power cut then costs seconds."""
        now = self._around.clock.monotonic_ns()
        if now - self._synced_ns < _SYNC_NS or self._syncing is not None:
            return
        self._synced_ns = now
        self._syncing = asyncio.get_running_loop().run_in_executor(None, self._store.sync)
        self._syncing.add_done_callback(self._synced)

    def _synced(self, syncing: asyncio.Future[None]) -> None:
        self._syncing = None
        error = None if syncing.cancelled() else syncing.exception()
        if isinstance(error, OSError):
            self._cannot_write(error)


def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in list(tasks):
        task.cancel()


def _is_passing(error: AIClientError) -> bool:
    return error.status in _PASSING or error.code in _UNREACHED


def _answered(item: Item, reply: Reply, record: Record) -> Answered:
    """What is kept of an answer. Raises `BrokenReplyError` when its body is not JSON in UTF-8."""
    model, usage = read_answer(reply.body, record.target or "the provider")
    if usage is None:  # the provider did not count: what was estimated
        usage = reply.usage
    try:
        reply.body.decode()
    except UnicodeDecodeError:
        raise BrokenReplyError(f"{record.target or 'the provider'} answered with text that is not UTF-8") from None
    # the target says which model answered by the name callers use; an answer from the cache has no target
    named = record.target.partition("/")[2]
    return Answered(
        item.line,
        item.custom_id,
        reply.status,
        record.request_id,
        reply.body,
        named or model or record.model,
        record.target,
        record.attempts,
        record.cache,
        record.cost_nano,
        record.duration_ns,
        usage,
    )


def _failed(item: Item, error: AIClientError) -> Failed:
    retryable = error.retryable or error.status in RETRYABLE_STATUSES
    return Failed(item.line, item.custom_id, error.code or error.type, error.message, error.status, retryable)
