"""Requests that two readers might read in two ways: the real daemon refuses each, and never sees a second in one.

Each attack carries a whole second request where a careless reader would find one. It is sent at once, byte by byte,
and on a connection that has served a sound request with the same head before. (RFC 9112, sections 2.2, 5, 6, 7, 11.2;
J. Kettle, "HTTP Desync Attacks", 2019.)
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from tests.gateway import Recorder, recorder, serving, write_config
from tests.running import Run
from tests.wire import dial

BODY: Final = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"first"}]}'
SECOND_BODY: Final = BODY.replace(b"first", b"smuggled")
SECOND: Final = b"POST /v1/chat/completions HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%b" % (
    len(SECOND_BODY),
    SECOND_BODY,
)
LINE: Final = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST: Final = b"Host: test\r\n"
LENGTH: Final = b"Content-Length: %d\r\n" % len(BODY)
CODING: Final = b"Transfer-Encoding: chunked\r\n"
CHUNKED: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
SOUND: Final = LINE + HOST + LENGTH + b"\r\n" + BODY
END: Final = b"\r\n"


def head(*lines: bytes) -> bytes:
    return b"".join([LINE, *lines, END])


def lengths() -> Iterator[tuple[str, bytes]]:
    """Lengths that conflict with one another, with the coding, or with what a number is."""
    longer = b"Content-Length: %d\r\n" % (len(BODY) + len(SECOND))
    for first, second in ((LENGTH, longer), (longer, LENGTH), (LENGTH, LENGTH), (b"Content-Length: 0\r\n", LENGTH)):
        yield f"two lengths {first!r} {second!r}", head(HOST, first, second) + BODY + SECOND
    for first, second in ((LENGTH, CODING), (CODING, LENGTH), (b"Content-Length: 0\r\n", CODING)):
        yield f"length and coding {first!r} {second!r}", head(HOST, first, second) + CHUNKED + SECOND
    size = b"%d" % len(BODY)
    for value in (b"+" + size, b"-1", b"0x42", size + b" 0", size + b",0", size + b", " + size, b"6_6", b"", b"1e2",
                  b"9" * 30, b"\xb2", size + b"\x0b", size + b"\x00"):  # fmt: skip
        yield f"length {value!r}", head(HOST, b"Content-Length: " + value + END) + BODY + SECOND
    for name in (b"Content-Length ", b" Content-Length", b"Content-Length\t", b"\tContent-Length",
                 b"Content\x00-Length", b"Content_Length\x0b", b"Content-Length\xa0"):  # fmt: skip
        yield f"name {name!r}", head(HOST, name + b": 0\r\n", LENGTH) + BODY + SECOND


def codings() -> Iterator[tuple[str, bytes]]:
    """Transfer codings that one reader knows and another passes over."""
    for value in (b"xchunked", b"chunked, identity", b"identity", b"chunked, chunked", b"gzip, chunked",
                  b"chunke d", b"\x0bchunked", b"chunked\x00", b'"chunked"', b"chunked;q=1", b",chunked",
                  b"chunked\xa0"):  # fmt: skip
        yield f"coding {value!r}", head(HOST, b"Transfer-Encoding: " + value + END) + CHUNKED + SECOND
        yield (
            f"coding {value!r} with a length",
            head(HOST, b"Transfer-Encoding: " + value + END, LENGTH) + BODY + SECOND,
        )
    yield "two codings", head(HOST, CODING, b"Transfer-Encoding: identity\r\n") + CHUNKED + SECOND
    yield "a folded coding", head(HOST, b"Transfer-Encoding:\r\n chunked\r\n", LENGTH) + CHUNKED + SECOND
    for name in (b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer-Encoding\x0b", b"Transfer\x00-Encoding"):
        yield f"name {name!r}", head(HOST, LENGTH, name + b": chunked\r\n") + CHUNKED + SECOND
    old = head(HOST, CODING).replace(b"HTTP/1.1", b"HTTP/1.0")
    yield "a coding in 1.0 with a length", old.replace(HOST, HOST + LENGTH) + CHUNKED + SECOND


def chunks() -> Iterator[tuple[str, bytes]]:
    """Chunks whose size, line end or ending could be read otherwise."""
    opening = head(HOST, CODING)
    size = b"%x" % len(BODY)
    for line in (b"0x" + size, b"+" + size, b"-" + size, size + b" 0", b" " + size, b"g", b"", size + b"\x00", b"\xb2",
                 b"1" * 17 + size):  # fmt: skip
        yield f"size {line!r}", opening + line + END + BODY + END + b"0\r\n\r\n" + SECOND
    yield "a bare LF after the size", opening + size + b"\n" + BODY + END + b"0\r\n\r\n" + SECOND
    yield "a bare CR after the size", opening + size + b"\r" + BODY + END + b"0\r\n\r\n" + SECOND
    yield "a bare LF in an extension", opening + size + b";a\nb\r\n" + BODY + END + b"0\r\n\r\n" + SECOND
    yield "junk after a chunk", opening + size + END + BODY + b"xx" + b"0\r\n\r\n" + SECOND
    yield "a bare LF after a chunk", opening + size + END + BODY + b"\n" + b"0\r\n\r\n" + SECOND
    yield "no line end after a chunk", opening + size + END + BODY + b"0\r\n\r\n" + SECOND
    yield "a bare LF at the end", opening + size + END + BODY + END + b"0\n\n" + SECOND
    yield "a size with junk at the end", opening + size + END + BODY + END + b"0x\r\n\r\n" + SECOND
    yield "a length among the trailers", opening + CHUNKED[:-2] + b"Content-Length: 5\r\n\r\n" + SECOND
    yield "a space before a trailer's colon", opening + size + END + BODY + END + b"0\r\nX : y\r\n\r\n" + SECOND


def lines() -> Iterator[tuple[str, bytes]]:
    """Line ends, hosts, folds and characters in the head."""
    for end in (b"\n", b"\r", b"\r\r\n", b"\n\r"):
        yield f"line end {end!r}", head(HOST, b"X: y" + end, LENGTH) + BODY + SECOND
    yield "a fold", head(HOST, b"X: y\r\n z: 1\r\n", LENGTH) + BODY + SECOND
    yield "a fold by a tab", head(HOST, b"X: y\r\n\tContent-Length: 0\r\n", LENGTH) + BODY + SECOND
    yield "a fold at the beginning", LINE + b" X: y\r\n" + HOST + LENGTH + END + BODY + SECOND
    yield "no colon", head(HOST, b"X y\r\n", LENGTH) + BODY + SECOND
    yield "no name", head(HOST, b": y\r\n", LENGTH) + BODY + SECOND
    for value in (b"\x00", b"a\x00b", b"\x01", b"\x7f", b"a\rb", b"a\rContent-Length: 0"):
        yield f"value {value!r}", head(HOST, b"X: " + value + END, LENGTH) + BODY + SECOND
    for name in (b"X\x00", b"X\x7f", b"X Y", b"X\r", b"X(", b"X/Y", b"\xff"):
        yield f"name {name!r}", head(HOST, name + b": y\r\n", LENGTH) + BODY + SECOND
    yield "two hosts", head(HOST, b"Host: other\r\n", LENGTH) + BODY + SECOND
    yield "the same host twice", head(HOST, HOST, LENGTH) + BODY + SECOND
    yield "no host", head(LENGTH) + BODY + SECOND
    yield "a space before the host's colon", head(b"Host : test\r\n", LENGTH) + BODY + SECOND
    for line in (b"POST /v1/chat/completions HTTP/1.1 \r\n",
                 b"POST /v1/chat completions HTTP/1.1\r\n", b"POST\t/v1/chat/completions HTTP/1.1\r\n",
                 b"POST /v1/chat/completions\r\n", b"POST /v1/chat/completions HTTP/2.0\r\n",
                 b"POST /v1/chat\x00/completions HTTP/1.1\r\n", b"POST /v1/chat/completions HTTP/1.1\n",
                 b"P\x00ST /v1/chat/completions HTTP/1.1\r\n", b"POST /v1/chat/completions http/1.1\r\n",
                 b"CONNECT test:1 HTTP/1.1\r\n"):  # fmt: skip
        yield f"first line {line!r}", line + HOST + LENGTH + END + BODY + SECOND
    yield "too many fields", head(HOST, b"X: y\r\n" * 200, LENGTH) + BODY + SECOND
    yield "too long a field", head(HOST, b"X: " + b"y" * 70_000 + END, LENGTH) + BODY + SECOND
    yield "too long a target", LINE.replace(b"/v1", b"/v1" + b"x" * 70_000) + HOST + LENGTH + END + BODY + SECOND


ATTACKS: Final = dict([*lengths(), *codings(), *chunks(), *lines()])


async def said(url: str, before: bytes, pieces: list[bytes]) -> bytes:
    """What the daemon answers on a connection of its own, until it closes it."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    async with dial((host, int(port))) as raw:
        if before:
            raw.send(before)
            assert (await raw.answer()).status == 200
        for piece in pieces:
            raw.send(piece)
            await raw.writer.drain()
        return await raw.ended()


def cut(data: bytes, *, bytewise: bool) -> list[bytes]:
    """At once; or the end byte by byte, with the head as one when it is very long."""
    if not bytewise:
        return [data]
    short = data[:2000] if len(data) > 5000 else data
    return [*(short[at : at + 1] for at in range(len(short))), data[len(short) :]]


def test_there_are_many_attacks() -> None:
    assert len(ATTACKS) > 100
    assert all(SECOND in attack for attack in ATTACKS.values())


@pytest.mark.parametrize("family", [lengths, codings, chunks, lines])
def test_none_is_answered_and_no_second_request_is_seen(run: Run, tmp_path: Path, family: object) -> None:
    attacks = dict(family())  # type: ignore[operator]

    async def scene() -> None:
        async with recorder() as upstream, serving(write_config(tmp_path, upstream.url)) as (_, url):
            for (name, attack), bytewise, before in product(attacks.items(), (False, True), (b"", SOUND)):
                upstream.requests.clear()
                answer = await said(url, before, cut(attack, bytewise=bytewise))
                assert answer.count(b"HTTP/1.1 ") == 1, (name, answer)
                assert answer[9:12] in (b"400", b"405", b"413", b"431", b"501", b"505"), (name, answer)
                assert b"\r\nconnection: close\r\n" in answer, name
                only_sound(upstream, 1 if before else 0, name)

    run(scene())


@pytest.mark.parametrize("size", [b"f" * 16, b"7" + b"f" * 15, b"ffffffff", b"ffffffff42424242"])
def test_a_chunk_that_never_ends_swallows_what_follows(run: Run, tmp_path: Path, size: bytes) -> None:
    """A size that would overflow in 32 or 64 bits: all that comes is its content, until the client stops."""

    async def scene() -> None:
        async with recorder() as upstream, serving(write_config(tmp_path, upstream.url)) as (_, url):
            host, _, port = url.removeprefix("http://").rpartition(":")
            async with dial((host, int(port))) as raw:
                raw.send(head(HOST, CODING) + size + END + BODY + END + b"0\r\n\r\n" + SECOND)
                raw.writer.write_eof()
                answer = await raw.ended()
            assert answer.count(b"HTTP/1.1 ") == 1
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert not upstream.requests

    run(scene())


def only_sound(upstream: Recorder, count: int, name: str) -> None:
    """The provider saw so many sound requests, and nothing else."""
    assert [request.body for request in upstream.requests] == [BODY] * count, name


SOUND_BUT_STRANGE: Final = {
    "an extension": head(HOST, CODING) + b'%x;a=b;c="d"\r\n%b\r\n0\r\n\r\n' % (len(BODY), BODY),
    "zeros before the size": head(HOST, CODING) + b"000%x\r\n%b\r\n000\r\n\r\n" % (len(BODY), BODY),
    "trailers that would be headers": head(HOST, CODING) + CHUNKED[:-2] + b"Host: x\r\nX-Priority: none\r\n\r\n",
    "the coding in capitals": head(HOST, b"TRANSFER-ENCODING: CHUNKED\r\n") + CHUNKED,
    "empty lines before": END * 3 + SOUND,
    "a length with zeros": head(HOST, b"Content-Length: 000%d\r\n" % len(BODY)) + BODY,
    "an absolute target": SOUND.replace(b"POST /v1", b"POST http://169.254.169.254/v1"),
    "another host": SOUND.replace(b"Host: test", b"Host: 169.254.169.254"),
    "two spaces in the first line": SOUND.replace(b"POST ", b"POST  "),
    "a hop's own fields": head(HOST, LENGTH, b"Connection: close, content-length\r\nProxy-Authorization: x\r\n") + BODY,
}  # fmt: skip


@pytest.mark.parametrize("name", SOUND_BUT_STRANGE)
@pytest.mark.parametrize("bytewise", [False, True])
def test_what_is_only_strange_is_one_request_and_the_next_another(
    run: Run, tmp_path: Path, name: str, bytewise: bool
) -> None:
    """What follows is seen as what it is: a second request in its own right, never a part of the first."""

    async def scene() -> None:
        closing = SECOND.replace(b"Host: test\r\n", b"Host: test\r\nConnection: close\r\n")
        async with recorder() as upstream, serving(write_config(tmp_path, upstream.url)) as (_, url):
            request = SOUND_BUT_STRANGE[name]
            alone = b"Connection: close" in request
            answer = await said(url, b"", cut(request + (b"" if alone else closing), bytewise=bytewise))
            assert answer.count(b"HTTP/1.1 200 ") == (1 if alone else 2), answer
            assert [each.body for each in upstream.requests] == ([BODY] if alone else [BODY, SECOND_BODY])
            for each in upstream.requests:
                assert each.path == "/v1/chat/completions"
                assert b"169.254.169.254" not in (each.header(b"host") or b"")
                assert each.header(b"proxy-authorization") is None

    run(scene())
