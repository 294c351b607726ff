"""What the ledger keeps, and what a place to keep it in owes."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Key(NamedTuple):
    """What spending is told apart by. `day` is the local calendar day, as `2026-01-31`."""

    day: str
    app: str
    tag: str
    model: str
    target: str


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A row of the ledger: a key, and what was spent under it. `cost_nano` is in nano-dollars.

    `cached_input_tokens` are part of `input_tokens`; `errors` are part of `calls`.
    """

    day: str
    app: str
    tag: str
    model: str
    target: str
    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0

    @property
    def key(self) -> Key:
        """What tells this row from the others."""
        return Key(self.day, self.app, self.tag, self.model, self.target)

    @property
    def figures(self) -> tuple[int, int, int, int, int, int]:
        """What was spent, in the order of the fields."""
        return (
            self.calls,
            self.errors,
            self.input_tokens,
            self.cached_input_tokens,
            self.output_tokens,
            self.cost_nano,
        )


class LedgerBackend(Protocol):
    """A place to keep the ledger in. Synchronous: a caller with an event loop calls it from a thread."""

    def add(self, rows: Sequence[Entry]) -> None:
        """Add these figures to what is there: all of them or, raising OSError, none."""

    def read(self, since_day: str, until_day: str) -> list[Entry]:
        """The rows of these days, both included, sorted by their keys. Raises OSError when the storage fails."""

    def close(self) -> None:
        """Let go of files and connections. Harmless when repeated."""


def merge(rows: Iterable[Entry]) -> list[Entry]:
    """One row for each key, sorted by the keys."""
    merged: dict[Key, Entry] = {}
    for row in rows:
        known = merged.get(row.key)
        merged[row.key] = row if known is None else Entry(*row.key, *map(operator.add, known.figures, row.figures))
    return [merged[key] for key in sorted(merged)]
