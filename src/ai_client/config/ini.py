"""A reader of INI files that remembers on which line everything stood.

The standard library's configparser forgets line numbers, folds case and stops at the first mistake; an operator wants
all mistakes at once, each with its line. The language is a subset of configparser's: `[section]` headers, `key = value`
lines, whole-line comments after `#` or `;`. No interpolation, no inline comments (a value may hold `#`), no
continuation lines. Keys keep their case and may hold dots, dashes, slashes and colons, as model names do.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ai_client.config.values import printed


class Header(NamedTuple):
    """A `[section]` line. Runs of white space inside the name are one space."""

    section: str
    line: int


class Item(NamedTuple):
    """A `key = value` line, both stripped of white space. Lines count from 1."""

    section: str
    key: str
    value: str
    line: int


class Fault(NamedTuple):
    """A line that is not of the language, and why. The text never repeats the line: it may hold a secret."""

    line: int
    reason: str


class Document(msgspec.Struct, frozen=True):
    """What a file says. `preamble` is the line of the first prose before any section, None when there is none."""

    headers: tuple[Header, ...]
    items: tuple[Item, ...]
    faults: tuple[Fault, ...]
    preamble: int | None


def decode(content: bytes) -> str:
    """Decode a file's bytes as UTF-8, with or without a byte order mark; `read` reports the lines that are not."""
    return content.decode("utf-8-sig", "surrogateescape")


def read(text: str) -> Document:
    """Read a whole file. Never raises: what cannot be understood is in `faults`, by line."""
    reader = _Reader()
    # Not splitlines(): editors and grep count \n only, and so must the numbers that are reported.
    for number, line in enumerate(text.split("\n"), start=1):
        reader.take(number, line.strip(" \t\r"))
    return Document(tuple(reader.headers), tuple(reader.items), tuple(reader.faults), reader.preamble)


class _Reader:
    """The state between two lines: the section that is open, and the keys seen so far."""

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.items: list[Item] = []
        self.faults: list[Fault] = []
        self.preamble: int | None = None
        self._section: str | None = None
        self._lost = False  # a header could not be read: its keys belong nowhere and are not mistakes of their own
        self._seen: dict[tuple[str, str], int] = {}

    def take(self, number: int, line: str) -> None:
        if any("\ud800" <= char <= "\udfff" for char in line):
            self._fault(number, "not UTF-8")
        elif not line or line[0] in "#;":
            return
        elif (stray := unprintable(line)) is not None:
            self._fault(number, stray)
        elif line[0] == "[":
            self._header(number, line)
        elif "=" in line:
            self._item(number, line)
        elif self._section is None and not self._lost:
            self.preamble = self.preamble or number
        elif not self._lost:
            self._fault(number, "expected `key = value`, `[section]`, or a comment that begins with #")

    def _header(self, number: int, line: str) -> None:
        name = " ".join(line[1:-1].split())
        self._lost = line[-1] != "]" or not name or "[" in name or "]" in name
        if self._lost:
            self._fault(number, "expected a section's name in brackets, alone on its line: `[api]`")
            return
        self._section = name
        self.headers.append(Header(name, number))

    def _item(self, number: int, line: str) -> None:
        key, _, value = line.partition("=")
        key, value = key.strip(), value.strip()
        if self._lost:
            return
        if not key:
            self._fault(number, "expected a key before `=`")
        elif self._section is None:
            self._fault(number, "a key before any section: put a `[section]` line above it")
        elif (first := self._seen.setdefault((self._section, key), number)) != number:
            self._fault(number, f"[{printed(self._section)}] {printed(key)} is given twice; first in line {first}")
        else:
            self.items.append(Item(self._section, key, value, number))

    def _fault(self, number: int, reason: str) -> None:
        self.faults.append(Fault(number, reason))


def unprintable(line: str) -> str | None:
    """Name the first character that cannot be seen: a stray control character, a zero-width or no-break space."""
    for column, char in enumerate(line, start=1):
        if not char.isprintable() and char != "\t":
            return f"a character that cannot be seen, U+{ord(char):04X}, at column {column}"
    return None
