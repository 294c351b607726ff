"""Requests and tokens a minute, kept as a provider keeps them: exactly, in integers."""

from __future__ import annotations

from typing import Final

from ai_client.transport.http import Header

MINUTE_NS: Final = 60_000_000_000
_MS_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000


class Bucket:
    """A token bucket that holds what accrues in `burst_seconds`, usually a minute, and refills evenly.

    Its level counts in units of 1/(60 · 10⁹) of a token, so that every nanosecond adds a whole number of them: over
    any span of t nanoseconds no more than limit · (burst + t) / minute are ever taken.
    """

    __slots__ = ("_full", "_level", "_stamp", "limit")

    def __init__(self, limit: int, now_ns: int, burst_seconds: float = 60.0) -> None:
        self.limit = limit
        self._full = max(1, int(limit * burst_seconds / 60)) * MINUTE_NS
        self._level = self._full
        self._stamp = now_ns

    def wait_ns(self, amount: int, now_ns: int) -> int:
        """How long until `amount` is there; 0 when it is there now."""
        self._refill(now_ns)
        short = amount * MINUTE_NS - self._level
        return -(-short // self.limit) if short > 0 else 0

    def take(self, amount: int) -> None:
        """Take what `wait_ns` said is there."""
        self._level -= amount * MINUTE_NS

    def remaining(self, now_ns: int) -> int:
        """What could be taken now."""
        self._refill(now_ns)
        return self._level // MINUTE_NS

    def reset_ns(self, now_ns: int) -> int:
        """How long until the bucket is full."""
        self._refill(now_ns)
        return -(-(self._full - self._level) // self.limit)

    def _refill(self, now_ns: int) -> None:
        if now_ns > self._stamp:
            self._level = min(self._full, self._level + (now_ns - self._stamp) * self.limit)
            self._stamp = now_ns


class Quota:
    """What one key may use. A limit of 0 is none."""

    __slots__ = ("_requests", "_tokens")

    def __init__(self, rpm: int, tpm: int, now_ns: int, burst_seconds: float = 60.0) -> None:
        self._requests = Bucket(rpm, now_ns, burst_seconds) if rpm else None
        self._tokens = Bucket(tpm, now_ns, burst_seconds) if tpm else None

    def admit(self, tokens: int, now_ns: int) -> tuple[str, int, int] | None:
        """Take a request and its tokens, or nothing of either.

        Returns None when admitted; else which limit is short (`requests` or `tokens`), that limit, and how many
        nanoseconds until it would do: -1 when the request asks for more than a whole minute's worth.
        """
        requests, bucket = self._requests, self._tokens
        if requests is not None and (wait := requests.wait_ns(1, now_ns)):
            return "requests", requests.limit, wait
        if bucket is not None:
            if tokens > bucket.limit:
                return "tokens", bucket.limit, -1
            if wait := bucket.wait_ns(tokens, now_ns):
                return "tokens", bucket.limit, wait
            bucket.take(tokens)
        if requests is not None:
            requests.take(1)
        return None

    def headers(self, now_ns: int) -> list[Header]:
        """OpenAI's rate limit headers, for the limits that there are."""
        found: list[Header] = []
        for name, bucket in ((b"requests", self._requests), (b"tokens", self._tokens)):
            if bucket is not None:
                found += (
                    (b"x-ratelimit-limit-" + name, b"%d" % bucket.limit),
                    (b"x-ratelimit-remaining-" + name, b"%d" % bucket.remaining(now_ns)),
                    (b"x-ratelimit-reset-" + name, duration(bucket.reset_ns(now_ns))),
                )
        return found


def retry_headers(wait_ns: int) -> list[Header]:
    """`retry-after` in whole seconds and `retry-after-ms`, rounded up so that coming back then is not too early."""
    return [
        (b"retry-after", b"%d" % -(-wait_ns // _SECOND_NS)),
        (b"retry-after-ms", b"%d" % -(-wait_ns // _MS_NS)),
    ]


def duration(ns: int) -> bytes:
    """A duration as OpenAI writes it, rounded up to milliseconds: `0s`, `12ms`, `8.64s`, `6m0s`."""
    ms = -(-ns // _MS_NS)
    if 0 < ms < 1_000:
        return b"%dms" % ms
    minutes, rest = divmod(ms, 60_000)
    seconds = f"{rest / 1_000:.3f}".rstrip("0").rstrip(".")
    return f"{minutes}m{seconds}s".encode() if minutes else f"{seconds}s".encode()
