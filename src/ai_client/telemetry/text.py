"""How a line is written: JSON or text, and never more than one line, whatever stands in its values."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable

from ai_client.clock import iso_utc

NANO = 1_000_000_000
LONGEST = 256
Value = str | int | float | bool | None


class Style(enum.Enum):
    """The shapes that `[logging] format` takes."""

    JSON = "json"
    TEXT = "text"


_MILLISECONDS = tuple(f"{number:03d}Z" for number in range(1000))  # formatting one costs more than looking it up


class Stamp:
    """Renders moments as `2026-01-31T12:00:00.123Z`, the calendar part once a second only."""

    __slots__ = ("_prefix", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def render(self, unix_ns: int) -> str:
        """RFC 3339, UTC, milliseconds."""
        second, rest = divmod(unix_ns, NANO)
        if second != self._second:
            self._prefix = iso_utc(second * NANO)[:20]
            self._second = second
        return self._prefix + _MILLISECONDS[rest // 1_000_000]


def dollars(nano: int) -> str:
    """Nano-dollars as exact dollars: 123456 is `0.000123456`."""
    digits = str(nano).zfill(10)
    return f"{digits[:-9]}.{digits[-9:]}"


def tame(value: str) -> str:
    """A value cut at 256 characters, with whatever cannot be printed (controls, lone surrogates) spelled out."""
    value = value[:LONGEST]
    return value if value.isprintable() else "".join(map(_spell, value))


def text_line(head: Iterable[str], pairs: Iterable[tuple[str, Value]]) -> bytes:
    """`2026-01-31T12:00:00.123Z INFO started listen=127.0.0.1:8080 note="two words"`, and a newline.

    A value that could be mistaken for something else (with a space, a quote, a backslash, `=`, or anything that cannot
    be printed) is written as a JSON string in ASCII.
    """
    words = [*head, *(f"{name}={_word(value)}" for name, value in pairs)]
    return " ".join(words).encode() + b"\n"


def _word(value: Value) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    value = value[:LONGEST]
    return value if value.isprintable() and _AMBIGUOUS.isdisjoint(value) else json.dumps(value)


def _spell(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]


_AMBIGUOUS = frozenset(' "=\\')
