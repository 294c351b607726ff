"""Plausible filler, made once: a reply is a stretch of it, cut in pieces of about four characters.

The prose is plain ASCII without quotes, backslashes or line breaks, so that it needs no escaping inside JSON.
"""

from __future__ import annotations

import re
from itertools import accumulate
from random import Random
from typing import Final

_SENTENCES: Final = 700
_PIECE: Final = re.compile(r" ?[A-Za-z]{1,6}|[^A-Za-z ]")

_OPENINGS: Final = (
    "First", "Then", "In practice", "For this reason", "On the other hand", "To begin with", "Once that is done",
    "As a rule", "In most cases", "By contrast", "After that", "Taken together", "At this point", "Even so",
)  # fmt: skip
_SUBJECTS: Final = (
    "the service", "each request", "the queue", "a small team", "the first step", "the result", "every node",
    "the total", "the simplest plan", "the remaining part", "a careful reader", "the schedule", "the budget",
    "the original question", "the second value", "a good estimate",
)  # fmt: skip
_VERBS: Final = (
    "depends on", "should account for", "follows from", "can be compared with", "adds to", "is limited by",
    "works best with", "leaves room for", "is divided by", "needs", "is checked against", "improves",
)  # fmt: skip
_OBJECTS: Final = (
    "the numbers given", "a clear deadline", "the available memory", "what was measured before", "the number of hours",
    "the slowest link", "a steady supply", "the cost of each item", "an honest baseline", "the same unit",
    "the last known state", "a margin of safety", "the people involved", "the amount that is left",
)  # fmt: skip
_ENDINGS: Final = ("", "", "", " in the end", " at every step", " without exception", " over time", " for a start")


class Prose:
    """A ring of pieces. A reply begins at the sentence that its draw picks."""

    __slots__ = ("_ends", "_pieces", "_starts", "_text")

    def __init__(self) -> None:
        random = Random(7)
        pieces: list[bytes] = []
        starts: list[int] = []
        for _ in range(_SENTENCES):
            starts.append(len(pieces))
            pieces += (piece.encode() for piece in _PIECE.findall(" " + _sentence(random)))
        self._pieces = pieces
        self._starts = starts
        self._text = b"".join(pieces)
        self._ends = list(accumulate(map(len, pieces), initial=0))

    def pieces(self, draw: int, count: int) -> list[bytes]:
        """`count` pieces, one for each token; the first one begins a sentence."""
        if count == 0:
            return []
        begin = self._starts[draw % len(self._starts)]
        ring = self._pieces
        found = (ring * ((begin + count) // len(ring) + 1))[begin : begin + count]
        found[0] = found[0][1:]
        return found

    def text(self, draw: int, count: int) -> bytes:
        """The same pieces, joined."""
        begin = self._starts[draw % len(self._starts)]
        if begin + count > len(self._pieces):
            return b"".join(self.pieces(draw, count))
        return self._text[self._ends[begin] + 1 : self._ends[begin + count]]


def _sentence(random: Random) -> str:
    body = f"{random.choice(_SUBJECTS)} {random.choice(_VERBS)} {random.choice(_OBJECTS)}{random.choice(_ENDINGS)}."
    if random.random() < 0.5:
        return f"{random.choice(_OPENINGS)}, {body}"
    return body[0].upper() + body[1:]
