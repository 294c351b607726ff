"""Names that come from outside, kept few: a label with endless values would eat the memory of all who count by it."""

from __future__ import annotations

OTHER = "other"
LONGEST = 128


class Vocabulary:
    """The values that one label may take: the first `limit` different ones; whatever comes later is `other`.

    A value that is no label at all (longer than 128 characters, or with unprintable ones) is `other` from the start.
    """

    __slots__ = ("_known", "_limit")

    def __init__(self, limit: int) -> None:
        self._known: set[str] = set()
        self._limit = limit

    def admit(self, value: str) -> str:
        """The value itself, or `other`."""
        known = self._known
        if value in known:
            return value
        if len(known) >= self._limit or len(value) > LONGEST or not value.isprintable():
            return OTHER
        known.add(value)
        return value
