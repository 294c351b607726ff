"""What must hold for any bytes. A target raises AssertionError where it does not, and anything else where it crashes.

Each takes the bytes as they come from the fuzzer, or from a file of tests/fuzz/corpus. Where it matters how the bytes
are cut, the first four of them say where.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final, cast

from ai_client.config import ini
from ai_client.config.load import parse_text
from ai_client.config.sections import SECTIONS
from ai_client.config.snapshot import Config
from ai_client.errors import AIClientError, BrokenReplyError, ConfigurationError, InvalidRequestError
from ai_client.model.parse import parse
from ai_client.model.request import Endpoint
from ai_client.transport.connection import ClientConnection
from ai_client.transport.exchange import Request
from ai_client.transport.outbox import Outbox
from ai_client.transport.request_reader import Arriving, Refusal, RequestReader, ServerLimits
from ai_client.transport.sse import Event, EventParser
from ai_client.transport.timer import Timeouts

_CUTS: Final = 4
_BYTEWISE: Final = 512  # bytes; longer input is cut in a few places only
_LIMITS: Final = ServerLimits(max_body=2000, max_header=1000, max_headers=16)
_BROKEN_LINE: Final = frozenset(b"\r\n\0")


def requests(data: bytes) -> None:
    """However the bytes are cut, they are the same requests, with the same refusal behind them, if any."""
    data, ways = _ways(data)
    whole = _read_requests([data])
    for pieces in ways:
        assert _read_requests(pieces) == whole
    for seen in whole[0]:
        method, path, query, headers, body, _, http11 = seen
        assert not _BROKEN_LINE & {*f"{method}{path}{query}".encode("latin-1")}
        assert not any(_BROKEN_LINE & {*name, *value} for name, value in headers)
        assert len(body) <= _LIMITS.max_body
        names = [name for name, _ in headers]
        assert names.count(b"host") == 1 or not http11
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1


def responses(data: bytes) -> None:
    """However the bytes are cut, they are the same answer or the same failure; a broken one is never reused."""
    data, ways = _ways(data)
    whole = asyncio.run(_received([data]))
    for pieces in ways:
        assert asyncio.run(_received(pieces)) == whole


def events(data: bytes) -> None:
    """However a stream is cut, it has the same events, and together they are its bytes."""
    data, ways = _ways(data)
    whole, pending = _read_events([data])
    assert b"".join(event.raw for event in whole) + pending == data
    for pieces in ways:
        assert _read_events(pieces) == (whole, pending)


def fields(data: bytes) -> None:
    """What is read of a body is what Python's own parser reads there, and nothing that it refuses is let through."""
    for endpoint in Endpoint:
        try:
            read = parse(endpoint, data)
        except InvalidRequestError:
            continue
        assert read.input_chars >= 0
        assert read.max_output >= 0
        if endpoint is Endpoint.OTHER and data[:1] not in b"{ \t\r\n":
            continue
        body = json.loads(data)
        assert read.model == (body.get("model") or "")
        assert read.stream == bool(body.get("stream")) or endpoint is Endpoint.EMBEDDINGS


def configuration(data: bytes) -> None:
    """It loads, or is refused in printable lines; what was loaded and written down again loads as the same."""
    try:
        loaded = parse_text(ini.decode(data), "f.conf")
    except ConfigurationError as error:
        problems = error.problems
    else:
        written = _written(loaded.config)
        assert _written(parse_text(written, "f.conf").config) == written
        return
    assert problems
    assert all(problem.isprintable() for problem in problems)


TARGETS: Final[Mapping[str, Callable[[bytes], None]]] = {
    "requests": requests,
    "responses": responses,
    "events": events,
    "fields": fields,
    "configuration": configuration,
}


def _ways(data: bytes) -> tuple[bytes, list[list[bytes]]]:
    """The content, and ways to cut it: as its first bytes say, and into single bytes where it is short."""
    marks, data = data[:_CUTS], data[_CUTS:]
    places = sorted(mark % (len(data) + 1) for mark in marks)
    ways = [[data[a:b] for a, b in pairwise([0, *places, len(data)])]]
    if len(data) <= _BYTEWISE:
        ways.append([data[at : at + 1] for at in range(len(data))])
    return data, ways


Seen = tuple[str, str, str, list[tuple[bytes, bytes]], bytes, bool, bool]


def _read_requests(pieces: list[bytes]) -> tuple[list[Seen], int]:
    """The requests, and the status with which the rest was refused, 0 when it was not."""
    found: list[Seen] = []

    def arrived(it: Request) -> None:
        found.append((it.method, it.path, it.query, it.headers, it.body, it.keep_alive, it.http11))

    reader = RequestReader(_LIMITS, arrived, Arriving(_LIMITS.max_arriving))
    try:
        for piece in pieces:
            if piece:
                reader.feed(piece)
    except Refusal as refusal:
        return found, refusal.status
    finally:
        reader.close()
    return found, 0


def _read_events(pieces: list[bytes]) -> tuple[list[Event], bytes]:
    parser = EventParser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    return [*found, *parser.finish()], parser.pending


class _Wire:
    """A transport that takes everything, and closes at the next turn of the loop."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        self._closing = False

    def write(self, data: bytes) -> None:
        """It is gone."""

    def is_closing(self) -> bool:
        return self._closing

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nobody writes."""

    def resume_reading(self) -> None:
        """Nobody writes."""

    def abort(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)


async def _received(pieces: list[bytes]) -> tuple[object, ...]:
    """The answer or its failure, and whether the connection could serve again."""
    rested: list[ClientConnection] = []
    gone: list[ClientConnection] = []
    loop = asyncio.get_running_loop()
    connection = ClientConnection(loop, "there", 2000, Outbox(loop), rested.append, gone.append)
    wire = _Wire(connection)
    connection.connection_made(cast("Any", wire))
    head = connection.send(b"POST / HTTP/1.1\r\n\r\n", Timeouts())
    await asyncio.sleep(0)
    for piece in pieces:
        if piece and not wire.is_closing():
            connection.data_received(piece)
        await asyncio.sleep(0)
    reusable = bool(rested) and not wire.is_closing()
    wire.abort()
    try:
        incoming = await head
        outcome: tuple[object, ...] = (incoming.status, incoming.headers, await incoming.read_all(2000))
    except AIClientError as error:
        outcome = (type(error).__name__, isinstance(error, BrokenReplyError))
    while not gone:  # noqa: ASYNC110  there is nobody who would set an event
        await asyncio.sleep(0)
    assert len(rested) <= 1
    assert len(gone) == 1
    return (*outcome, reusable)


def _written(config: Config) -> str:
    """A configuration as a file, without its secrets, and without the apps that nothing but a secret tells apart."""
    lines: list[str] = []
    for section in SECTIONS.values():
        for title, values in _instances(config, section.name):
            lines.append(f"[{title}]")
            if section.free is not None:
                lines += [f"{key} = {section.free.kind.show(value)}" for key, value in values.items()]
                continue
            for key in section.keys.values():
                value = getattr(values, key.name)
                if key.name == "models" and section.name in ("provider", "key"):
                    value = tuple(
                        f"{name}={values.renames[name]}" if name in values.renames else name for name in value
                    )
                # a default that nobody serves is a doubt, the same value written down a mistake: so it is not written
                if not key.secret and (key.inherits or value != key.default):
                    lines.append(f"{key.name} = {key.kind.show(value)}")
    return "\n".join(lines) + "\n"


def _instances(config: Config, name: str) -> Iterator[tuple[str, Any]]:
    if name == "provider":
        yield from ((f"provider {each.name}", each) for each in list(config.providers.values())[1:])
    elif name == "app":
        yield from ((f"app {each.name}", each) for each in config.apps.values() if each.uid is not None)
    elif name == "limit":
        yield from ((f"limit {each.name}", each) for each in config.quotas.values())
    elif name == "key":
        yield from ((f"key {each.name}", each) for each in config.keys.values())
    else:
        yield name, getattr(config, name)
