"""What both ends of HTTP/1.1 share: reason phrases, header look-up, the fields that end at a connection."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

Header = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"content-length",
    }
)
"""Fields that belong to one connection (RFC 9110 section 7.6.1), and the length, which each writer states itself."""

BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body, and state no length (RFC 9110 section 8.6)."""


def _status_lines() -> dict[int, bytes]:
    lines = {code: f"HTTP/1.1 {code} Status\r\n".encode() for code in range(100, 1000)}
    lines.update({status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus})
    return lines


STATUS_LINES = _status_lines()
"""The first line of an answer, its line end included, for every status that three digits can say."""


_FRAMING = frozenset({b"content-type", b"content-length", b"transfer-encoding"})


def framing(headers: Iterable[Header]) -> tuple[bool, int, bool]:
    """Of an answer's body: is it JSON, its length (-1 where none is stated), does it come in chunks."""
    json = chunked = False
    length = -1
    for name, value in headers:
        if name in _FRAMING:  # most are not, and one look tells
            if name == b"content-type":
                json = is_json(value)
            elif name == b"content-length":
                length = int(value)
            else:
                chunked = value.strip().lower().endswith(b"chunked")
    return json, length, chunked


def find_header(headers: Iterable[Header], name: bytes) -> bytes | None:
    """The first value of the header `name` (lower case), or None."""
    for key, value in headers:
        if key == name:
            return value
    return None


def is_json(content_type: bytes) -> bool:
    """Is this `application/json`, whatever its parameters?"""
    return content_type[:16].lower() == b"application/json" and content_type[16:17] in (b"", b";", b" ", b"\t")
