"""From lines to calls: every documented shape, one line at a time; what is wrong with a line is said by its number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import BinaryIO, Final

import msgspec

from ai_client.batch.job import Defaults
from ai_client.model.request import Endpoint

_SKIP: Final = 1 << 20
_BOM: Final = b"\xef\xbb\xbf"
_MOST_SHOWN: Final = 60

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_NAME: Final = msgspec.json.Decoder(str | int | None)

_Members = dict[str, msgspec.Raw]

_URLS: Final[Mapping[str, Endpoint]] = MappingProxyType(
    {prefix + endpoint.value: endpoint for endpoint in Endpoint if endpoint.value for prefix in ("/v1", "")}
)
_INPUTS: Final[Mapping[Endpoint, tuple[str, ...]]] = MappingProxyType(
    {
        Endpoint.CHAT: ("messages", "prompt"),
        Endpoint.COMPLETIONS: ("prompt",),
        Endpoint.EMBEDDINGS: ("input",),
        Endpoint.RESPONSES: ("input",),
    }
)
"""The members of which a plain line has one: what it asks."""

_BOUNDS: Final[Mapping[Endpoint, tuple[str, ...]]] = MappingProxyType(
    {
        Endpoint.CHAT: ("max_tokens", "max_completion_tokens"),
        Endpoint.COMPLETIONS: ("max_tokens",),
        Endpoint.RESPONSES: ("max_output_tokens",),
    }
)
"""The members that bound an answer; the first is written where a line has none of them."""


class Item(msgspec.Struct, frozen=True, gc=False):
    """A line to be answered. `line` counts from 1; `body` is what is sent."""

    line: int
    custom_id: str
    endpoint: Endpoint
    body: bytes


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """A line that cannot be asked: `code` is `invalid_line`, `line_too_large` or `duplicate_custom_id`."""

    line: int
    custom_id: str | None
    code: str
    message: str


class Blank(msgspec.Struct, frozen=True, gc=False):
    """A line with nothing in it."""

    line: int


Line = Item | Rejected | Blank


class _Broken(Exception):
    """Why a line cannot be asked."""

    def __init__(self, message: str, code: str = "invalid_line") -> None:
        super().__init__(message)
        self.code = code


def read(file: BinaryIO, defaults: Defaults, limit_bytes: int) -> Iterator[Line]:
    """Every line of `file`, in order. Raises OSError when it cannot be read to its end.

    Memory stays the same whatever the input's size, but for about 80 bytes a line by which a second use of a
    `custom_id` is noticed. `limit_bytes` bounds a line, its end not counted.
    """
    seen: set[int] = set()
    for number, text in _lines(file, limit_bytes):
        if text is None:
            yield Rejected(number, None, "line_too_large", f"line {number} is longer than {limit_bytes} bytes")
        elif not text.strip():
            yield Blank(number)
        else:
            yield _understood(number, text, defaults, seen)


def _lines(file: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines; None for one beyond the limit, of which no more than that is ever held."""
    number = 0
    while text := file.readline(limit + 1):
        number += 1
        if len(text) > limit and not text.endswith(b"\n"):
            while (rest := file.readline(_SKIP)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, text.removeprefix(_BOM) if number == 1 else text


def _understood(number: int, text: bytes, defaults: Defaults, seen: set[int]) -> Item | Rejected:
    custom_id: str | None = None
    try:
        members = _members(text, "the line")
        custom_id = _custom_id(members, number)
        # A 64-bit hash, keyed anew in each process, stands for the id: among ten million of them the chance that
        # two different ones meet is 3 in a million, and then the later line is reported, not lost.
        if hash(custom_id) in seen:
            raise _Broken(f"custom_id {_shown(custom_id)} was used by an earlier line", "duplicate_custom_id")
        seen.add(hash(custom_id))
        if "body" in members or "url" in members:
            endpoint, body, asked = _openai_line(members)
        else:
            endpoint, body, asked = defaults.endpoint, *_plain_line(members, defaults.endpoint)
        return Item(number, custom_id, endpoint, _complete(endpoint, body, asked, defaults))
    except _Broken as broken:
        return Rejected(number, custom_id, broken.code, f"line {number}: {broken}")


def _members(text: bytes, what: str) -> _Members:
    try:
        text.decode()  # msgspec leaves strings unread that nobody asks for, and with them what is not UTF-8
        return _OBJECT.decode(text)
    except UnicodeDecodeError as error:
        raise _Broken(f"{what} is not UTF-8: byte {error.start + 1} is wrong") from None
    except msgspec.ValidationError:
        raise _Broken(f"{what} is not a JSON object") from None
    except msgspec.DecodeError as error:
        raise _Broken(f"{what} is not valid JSON: {error}") from None
    except RecursionError:
        raise _Broken(f"{what} is nested too deeply") from None


def _custom_id(members: _Members, number: int) -> str:
    """The line's name. Takes it out of the members, since of a plain line all the others are sent."""
    raw = members.pop("custom_id", None)
    if "body" not in members and "url" not in members:
        plain = members.pop("id", None)
        raw = plain if raw is None else raw
    if raw is None:
        return f"line-{number:06d}"
    try:
        given = _NAME.decode(raw)
    except msgspec.DecodeError:
        raise _Broken("custom_id must be a string") from None
    if given == "":
        raise _Broken("custom_id is empty")
    return f"line-{number:06d}" if given is None else str(given)


def _openai_line(members: _Members) -> tuple[Endpoint, bytes | None, _Members]:
    """`{"custom_id", "method", "url", "body"}`, as OpenAI's Batch API takes it."""
    method = _string(members, "method") or "POST"
    if method.upper() != "POST":
        raise _Broken(f"method is {_shown(method)}: it must be POST")
    url = _string(members, "url")
    endpoint = _URLS.get(url.rstrip("/"))
    if endpoint is None:
        known = ", ".join(url for url in _URLS if url.startswith("/v1"))
        raise _Broken(f"url is {_shown(url)}: it must be one of {known}" if url else f"url is missing: one of {known}")
    if "body" not in members:
        raise _Broken("body is missing")
    body = bytes(members["body"])
    return endpoint, body, _members(body, "body")


def _plain_line(members: _Members, endpoint: Endpoint) -> tuple[None, _Members]:
    """`{"messages": …}`, `{"prompt": …}`: the line, without its id, is the body."""
    given = [name for name in _INPUTS[endpoint] if name in members]
    if len(given) != 1:
        wanted = " or ".join(f'"{name}"' for name in _INPUTS[endpoint])
        raise _Broken(f"the line has both {wanted.replace(' or ', ' and ')}" if given else f"the line has no {wanted}")
    if endpoint is Endpoint.CHAT and given == ["prompt"]:
        prompt = members.pop("prompt")
        try:
            text = _TEXT.decode(prompt)
        except msgspec.DecodeError:
            raise _Broken("prompt must be a string") from None
        if not text:
            raise _Broken("prompt is empty")
        members["messages"] = msgspec.Raw(b'[{"role":"user","content":%s}]' % bytes(prompt))
    return None, members


def _complete(endpoint: Endpoint, body: bytes | None, asked: _Members, defaults: Defaults) -> bytes:
    """The body to send: as it came where it says everything itself, otherwise with what the defaults add."""
    if bytes(asked.get("stream", b"")) == b"true":
        raise _Broken("stream is true: a batch writes whole answers; leave it out")
    added: _Members = {}
    if "model" not in asked:
        added["model"] = _raw(defaults.model)
    bounds = _BOUNDS.get(endpoint, ())
    if defaults.max_tokens is not None and bounds and not any(name in asked for name in bounds):
        added[bounds[0]] = _raw(defaults.max_tokens)
    if defaults.temperature is not None and bounds and "temperature" not in asked:
        added["temperature"] = _raw(defaults.temperature)
    if body is not None and not added:
        return body
    return msgspec.json.encode({**asked, **added})


def _string(members: _Members, name: str) -> str:
    """A member that must be a string; empty when it is missing."""
    raw = members.get(name)
    if raw is None:
        return ""
    try:
        return _TEXT.decode(raw)
    except msgspec.DecodeError:
        raise _Broken(f"{name} must be a string") from None


def _raw(value: str | float) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def _shown(text: str) -> str:
    """A value in quotes, cut where it is long."""
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…")
