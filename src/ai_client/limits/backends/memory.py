"""Limits of one process, in its memory."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from ai_client.clock import Clock
from ai_client.errors import RateLimitedError
from ai_client.limits.base import Settings
from ai_client.limits.bucket import Bucket


class MemoryReservation:
    """See `limits.base.Reservation`."""

    __slots__ = ("_limiter", "_tokens")

    def __init__(self, limiter: MemoryLimiter, tokens: int) -> None:
        self._limiter: MemoryLimiter | None = limiter
        self._tokens = tokens

    def settle(self, tokens: int) -> None:
        """Give back what was reserved beyond `tokens`, or owe what is missing."""
        limiter = self._limiter
        if limiter is not None and tokens != self._tokens:
            limiter.correct(tokens - self._tokens)
            self._tokens = tokens

    def release(self, spent: int = 0) -> None:
        """The attempt is over, having spent so many tokens."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            if spent and spent != self._tokens:
                limiter.correct(spent - self._tokens)
            limiter.leave()


class _Waiter:
    """One attempt in the queue. It sorts by priority, highest first, then by arrival."""

    __slots__ = ("future", "order", "priority", "tokens")

    def __init__(self, priority: int, order: int, tokens: int, future: asyncio.Future[None]) -> None:
        self.priority = priority
        self.order = order
        self.tokens = tokens
        self.future = future

    def __lt__(self, other: _Waiter) -> bool:
        return (-self.priority, self.order) < (-other.priority, other.order)


class MemoryLimiter:
    """Requests a minute, tokens a minute, and how many at once; see `limits.base.Limiter`.

    The deciding (`_wait_ns`, `_admit`) is synchronous; `reserve` awaits only when an attempt has to queue. One
    timer serves the whole queue: it is set for the moment when its head can go.
    """

    def __init__(self, name: str, settings: Settings, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._running = 0
        self._queue: list[_Waiter] = []
        self._queued: dict[int, tuple[int, int]] = {}  # by priority: waiters, and their tokens
        self._waiting = 0
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._settings = settings
        self._cap = settings.max_concurrent
        now = clock.monotonic_ns()
        self._requests = _bucket(settings.requests_per_minute, settings.burst_seconds, now)
        self._tokens = _bucket(settings.tokens_per_minute, settings.burst_seconds, now)

    @property
    def waiting(self) -> int:
        """Attempts in the queue."""
        return self._waiting

    @property
    def running(self) -> int:
        """Attempts admitted and not yet released."""
        return self._running

    def available(self) -> tuple[int | None, int | None]:
        """Requests and tokens that may be spent now; None where there is no limit."""
        now = self._clock.monotonic_ns()
        requests, tokens = self._requests, self._tokens
        return (
            None if requests is None else requests.available(now),
            None if tokens is None else tokens.available(now),
        )

    def reconfigure(self, settings: Settings) -> None:
        """Other limits from now on. A bucket whose rate is unchanged keeps its level."""
        old, self._settings = self._settings, settings
        self._cap = settings.max_concurrent
        now = self._clock.monotonic_ns()
        burst_changed = old.burst_seconds != settings.burst_seconds
        if burst_changed or old.requests_per_minute != settings.requests_per_minute:
            self._requests = _bucket(settings.requests_per_minute, settings.burst_seconds, now)
        if burst_changed or old.tokens_per_minute != settings.tokens_per_minute:
            self._tokens = _bucket(settings.tokens_per_minute, settings.burst_seconds, now)
        self._advance()

    def try_reserve(self, tokens: int, priority: int) -> MemoryReservation | None:
        """One request of `tokens` now, or None."""
        if self._waiting and not self._goes_first(priority):
            return None
        # as _wait_ns and _admit, written out: this is the way of every call that need not wait
        if self._cap and self._running >= self._cap:
            return None
        now = self._clock.monotonic_ns()
        request_bucket, token_bucket = self._requests, self._tokens
        if request_bucket is not None and request_bucket.wait_ns(1, now):
            return None
        if token_bucket is not None:
            if token_bucket.wait_ns(tokens, now):
                return None
            token_bucket.take(tokens)
        if request_bucket is not None:
            request_bucket.take(1)
        self._running += 1
        return MemoryReservation(self, tokens)

    async def reserve(self, tokens: int, priority: int, deadline_ns: int) -> MemoryReservation:
        """One request of `tokens`, after waiting if need be."""
        at_once = self.try_reserve(tokens, priority)
        if at_once is not None:
            return at_once
        deadline_ns = min(deadline_ns, self._clock.monotonic_ns() + int(self._settings.max_wait * 1e9))
        self._check_patience(tokens, priority, deadline_ns)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(priority, next(self._order), tokens, loop.create_future())
        heapq.heappush(self._queue, waiter)
        self._count(waiter, 1)
        self._advance()
        left = (deadline_ns - self._clock.monotonic_ns()) / 1e9
        late = loop.call_later(max(left, 0.0), _give_up, waiter.future)
        try:
            await waiter.future
        except asyncio.CancelledError:
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                # admitted in the same turn in which the caller left: hand it all back
                if self._requests is not None:
                    self._requests.take(-1)
                self.correct(-tokens)
                self.leave()
            else:
                self._withdraw(waiter)
            raise
        except TimeoutError:
            self._withdraw(waiter)
            why = "the wait for quota outlasted the call's deadline or max_wait"
            raise self._refusal(tokens, priority, why) from None
        finally:
            late.cancel()
        return MemoryReservation(self, tokens)

    def correct(self, tokens: int) -> None:
        """Spend `tokens` more, or get them back when negative."""
        if self._tokens is not None:
            self._tokens.take(tokens)
            if tokens < 0 and self._waiting:
                self._advance()

    def leave(self) -> None:
        """One attempt less at once."""
        self._running -= 1
        if self._waiting:
            self._advance()

    # ---- deciding

    def _wait_ns(self, tokens: int, now: int) -> int:
        """Nanoseconds until a request of `tokens` may go; -1 when that depends on another's end."""
        if self._cap and self._running >= self._cap:
            return -1
        wait = 0
        if self._requests is not None:
            wait = self._requests.wait_ns(1, now)
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait_ns(tokens, now))
        return wait

    def _admit(self, tokens: int) -> MemoryReservation:
        self._running += 1
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(tokens)
        return MemoryReservation(self, tokens)

    def _goes_first(self, priority: int) -> bool:
        self._drop_withdrawn()
        return not self._queue or priority > self._queue[0].priority

    def _advance(self) -> None:
        """Let go whoever can, in order; set the timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while True:
            self._drop_withdrawn()
            if not self._queue:
                return
            head = self._queue[0]
            wait = self._wait_ns(head.tokens, self._clock.monotonic_ns())
            if wait > 0:
                loop = head.future.get_loop()
                self._timer = loop.call_later(wait / 1e9, self._advance)
            if wait:
                return
            heapq.heappop(self._queue)
            self._count(head, -1)
            self._admit(head.tokens)
            head.future.set_result(None)

    def _drop_withdrawn(self) -> None:
        while self._queue and self._queue[0].future.done():
            heapq.heappop(self._queue)

    def _withdraw(self, waiter: _Waiter) -> None:
        """The waiter's future is done; it leaves the heap when it comes to its top."""
        self._count(waiter, -1)
        self._advance()

    def _count(self, waiter: _Waiter, step: int) -> None:
        """One waiter more, or one less."""
        self._waiting += step
        waiters, tokens = self._queued.get(waiter.priority, (0, 0))
        self._queued[waiter.priority] = (waiters + step, tokens + step * waiter.tokens)

    # ---- refusing

    def _check_patience(self, tokens: int, priority: int, deadline_ns: int) -> None:
        settings = self._settings
        if self._waiting >= settings.max_queue:
            raise self._refusal(tokens, priority, f"{self._waiting} calls already wait for quota (max_queue)")
        expected = self._expected_wait_ns(tokens, priority)
        if expected > deadline_ns - self._clock.monotonic_ns():
            raise self._refusal(tokens, priority, f"the wait for quota would be {expected / 1e9:.1f} s")

    def _expected_wait_ns(self, tokens: int, priority: int) -> int:
        """When a request that arrives now may go, as far as the buckets tell: after those of its priority or above."""
        now = self._clock.monotonic_ns()
        ahead = [line for queued, line in self._queued.items() if queued >= priority]
        wait = 0
        if self._requests is not None:
            wait = self._requests.wait_behind_ns(1, sum(waiters for waiters, _ in ahead), now)
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait_behind_ns(tokens, sum(reserved for _, reserved in ahead), now))
        return wait

    def _refusal(self, tokens: int, priority: int, why: str) -> RateLimitedError:
        seconds = max(self._expected_wait_ns(tokens, priority) / 1e9, 0.001)
        return RateLimitedError(
            f"the quota of {self._name} is short: {why}; try again in {seconds:.1f} s, or raise its limits",
            retry_after=seconds,
        )


def _bucket(rate: int, burst_seconds: float, now_ns: int) -> Bucket | None:
    if not rate:
        return None
    return Bucket(rate, max(1, int(rate * burst_seconds / 60)), now_ns)


def _give_up(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_exception(TimeoutError())
