"""An answer that came at one stroke and says nothing unusual, read without the parser.

A provider says most lines of its answers' heads again and again; of two dozen, six are new. What a line says is
remembered, so those that came before cost a look-up each, and nothing is called for them.
"""

from __future__ import annotations

import string
from functools import lru_cache
from typing import Final

from ai_client.transport.http import Header, is_json

_FIRST: Final = b"HTTP/1.1 200 OK\r\n"
_MOST_LINES: Final = 1024
_MOST_DIGITS: Final = 12
_TOKEN: Final = (string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~").encode()
_TEXT: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))

# What a line means for the reading of the body.
_NOTHING: Final = 0
_LENGTH: Final = 1
_JSON: Final = 2
_MORE: Final = 3  # than is understood here


def read_plain(data: bytes) -> tuple[list[Header], bytes] | None:
    """The headers and the body of a whole `200 OK` with JSON of a stated length, after which the connection stays.

    None for whatever is less plain than that, be it right or wrong: that is for the parser, which reads everything that
    is read here in the same way. The grammar is that of RFC 9112, sections 4 to 6.
    """
    if not data.startswith(_FIRST):
        return None
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    headers = []
    length = -1
    json = False
    for header, meaning in map(_field, data[len(_FIRST) : end].split(b"\r\n")):
        if meaning:
            if meaning == _JSON:
                json = True
            elif meaning == _LENGTH and length < 0:
                length = int(header[1])
            else:
                return None
        headers.append(header)
    body = data[end + 4 :]
    return (headers, body) if json and len(body) == length else None


@lru_cache(_MOST_LINES)
def _field(line: bytes) -> tuple[Header, int]:
    """A line of a head: its name in lower case with its value, and what it means here."""
    name, colon, value = line.partition(b":")
    value = value.lstrip(b" \t")  # what follows it the parser leaves, too
    header = name.lower(), value
    if not name or not colon or name.translate(None, _TOKEN) or value.translate(None, _TEXT):
        return header, _MORE
    return header, _meaning(*header)


def _meaning(name: bytes, value: bytes) -> int:
    if name == b"content-length":
        return _LENGTH if value.isdigit() and len(value) <= _MOST_DIGITS else _MORE
    if name == b"content-type":
        return _JSON if is_json(value) else _MORE
    if name == b"connection":
        return _NOTHING if value.lower() == b"keep-alive" else _MORE
    return _MORE if name in (b"transfer-encoding", b"upgrade", b"proxy-connection") else _NOTHING
