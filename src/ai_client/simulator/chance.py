"""Chance, drawn from a seed: the same question gets the same luck, in whatever order questions arrive."""

from __future__ import annotations

import math
import struct
from collections import OrderedDict
from hashlib import blake2b
from itertools import accumulate
from random import Random
from statistics import NormalDist
from typing import Final

import msgspec

TABLE_SIZE: Final = 4096
DIGEST_SIZE: Final = 32

_REMEMBERED_BODIES: Final = 262_144
_UNIFORM_SCALE: Final = 2.0**-64
_STANDARD_NORMAL: Final = NormalDist()


class Luck(msgspec.Struct, frozen=True, gc=False):
    """Four independent draws of 64 bits, and the digest that they come from."""

    first: int
    gaps: int
    length: int
    text: int
    digest: bytes


class Chance:
    """The source of all luck of one simulator: keyed hashes (BLAKE2b) of what is asked, never a running generator."""

    __slots__ = ("_key",)

    def __init__(self, seed: int) -> None:
        self._key = blake2b(str(seed).encode(), digest_size=DIGEST_SIZE).digest()

    def digest(self, *parts: bytes) -> bytes:
        """32 bytes that depend on the seed and on `parts` only."""
        if len(parts) == 1:
            return blake2b(parts[0], digest_size=DIGEST_SIZE, key=self._key).digest()
        hasher = blake2b(digest_size=DIGEST_SIZE, key=self._key)
        for part in parts:
            hasher.update(len(part).to_bytes(8, "little"))
            hasher.update(part)
        return hasher.digest()

    def uniform(self, *parts: bytes) -> float:
        """A number from 0 up to, not including, 1."""
        return min(int.from_bytes(self.digest(*parts)[:8], "little") * _UNIFORM_SCALE, 1 - 2.0**-53)

    def normal(self, *parts: bytes) -> float:
        """A number from the standard normal distribution."""
        return _STANDARD_NORMAL.inv_cdf(max(self.uniform(*parts), 2.0**-53))


def quantile(share: float) -> float:
    """The number below which this share of the standard normal distribution lies."""
    if 0 < share < 1:
        return _STANDARD_NORMAL.inv_cdf(share)
    return math.inf if share > 0 else -math.inf


def luck(digest: bytes) -> Luck:
    """The draws in a digest."""
    first, gaps, length, text = struct.unpack("<4Q", digest)
    return Luck(first, gaps, length, text, digest)


class Occurrences:
    """How often each body was seen. Remembers the bodies seen last; a forgotten one counts from 0 again."""

    __slots__ = ("_limit", "_seen")

    def __init__(self, limit: int = _REMEMBERED_BODIES) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def before(self, digest: bytes) -> int:
        """How often this digest was counted before."""
        return self._seen.get(digest, 0)

    def count(self, digest: bytes) -> int:
        """Count this digest once more; returns how often it was counted before."""
        seen = self._seen
        before = seen.pop(digest, 0)
        seen[digest] = before + 1
        if len(seen) > self._limit:
            seen.popitem(last=False)
        return before


def lognormal_table(median: float, sigma: float, size: int = TABLE_SIZE) -> list[int]:
    """Evenly spaced quantiles of a lognormal distribution, ascending: a draw from it is one look-up."""
    if sigma == 0:
        return [round(median)]
    return [round(median * math.exp(sigma * _STANDARD_NORMAL.inv_cdf((i + 0.5) / size))) for i in range(size)]


class Pace:
    """How long one model takes: tables of delays in nanoseconds, drawn once.

    The gaps between tokens lie shuffled in a ring; a reply takes a stretch of it from a place of its own, so that
    the whole delay of a reply that is not streamed equals that of the same reply streamed.
    """

    __slots__ = ("_first", "_gaps", "_prefill_ns", "_sums", "instant")

    def __init__(self, first_ns: list[int], gaps_ns: list[int], prefill_ns: int) -> None:
        self._first = first_ns
        self._gaps = gaps_ns.copy()
        Random(len(gaps_ns)).shuffle(self._gaps)
        self._sums = list(accumulate(self._gaps, initial=0))
        self._prefill_ns = prefill_ns
        self.instant = not (any(first_ns) or any(gaps_ns) or prefill_ns)

    def first_ns(self, draws: Luck, fresh_tokens: int) -> int:
        """The time to the first token, with `fresh_tokens` of prompt to read that were not cached."""
        return self._first[draws.first % len(self._first)] + fresh_tokens * self._prefill_ns

    def total_ns(self, draws: Luck, tokens: int) -> int:
        """From the first of `tokens` to the last."""
        begin = draws.gaps % len(self._gaps)
        return self._sum(begin + max(tokens - 1, 0)) - self._sum(begin)

    def schedule(self, draws: Luck, tokens: int) -> list[int]:
        """When each token comes, counted from the first, which comes at 0."""
        begin = draws.gaps % len(self._gaps)
        ring = self._gaps * ((begin + tokens) // len(self._gaps) + 1)
        return list(accumulate(ring[begin : begin + max(tokens - 1, 0)], initial=0))

    def _sum(self, end: int) -> int:
        turns, rest = divmod(end, len(self._gaps))
        return turns * self._sums[-1] + self._sums[rest]
