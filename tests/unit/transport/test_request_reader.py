"""What the reader takes for a request, what it refuses, and what it may cost."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from ai_client.transport.exchange import Request
from ai_client.transport.request_reader import BODY, HEAD, IDLE, Arriving, Refusal, RequestReader, ServerLimits

START = b"POST /a HTTP/1.1\r\nHost: test\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


class Reader(RequestReader):
    """A reader that keeps what it read."""

    def __init__(self, limits: ServerLimits | None = None, arriving: Arriving | None = None) -> None:
        self.requests: list[Request] = []
        super().__init__(limits or ServerLimits(), self.requests.append, arriving or Arriving(10**9))


def feed_all(reader: Reader, pieces: Iterable[bytes]) -> None:
    for piece in pieces:
        reader.feed(piece)


def read(data: bytes, limits: ServerLimits | None = None) -> list[Request]:
    reader = Reader(limits)
    reader.feed(data)
    assert reader.stage == IDLE
    return reader.requests


def refused(data: bytes, limits: ServerLimits | None = None) -> int:
    """The status with which `data` is refused, whether it comes at once or byte by byte."""
    reader = Reader(limits)
    with pytest.raises(Refusal) as at_once:
        reader.feed(data)
    assert reader.requests == []
    reader = Reader(limits)
    with pytest.raises(Refusal) as in_bytes:
        feed_all(reader, [bytes([byte]) for byte in data])
    assert reader.requests == []
    assert at_once.value.status == in_bytes.value.status
    return at_once.value.status


def test_a_request_is_given_out_whole() -> None:
    (request,) = read(START + b"X-One: 1\r\nContent-Length: 3\r\n\r\nabc")
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a", "", b"abc")
    assert request.headers == [(b"host", b"test"), (b"x-one", b"1"), (b"content-length", b"3")]
    assert request.header(b"x-one") == b"1"
    assert request.header(b"x-two") is None
    assert (request.keep_alive, request.http11, request.peer_uid) == (True, True, None)


def test_chunks_are_put_together_and_trailers_left_out() -> None:
    data = CHUNKED + b"3\r\nabc\r\n2;name=value\r\nde\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    (request,) = read(data)
    assert request.body == b"abcde"
    assert request.header(b"authorization") is None
    reader = Reader()
    for byte in data:
        reader.feed(bytes([byte]))
    assert reader.requests[0].headers == request.headers
    assert reader.requests[0].body == request.body


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a?b=c?d", "/a", "b=c?d"),
        ("/%2F%2f", "/%2F%2f", ""),
        ("http://host/a/b?c", "/a/b", "c"),
        ("http://host?c/d", "/", "c/d"),
        ("http://host", "/", ""),
        ("*", "*", ""),
    ],
)
def test_targets(target: str, path: str, query: str) -> None:
    (request,) = read(f"OPTIONS {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
    assert (request.method, request.path, request.query) == ("OPTIONS", path, query)


def test_a_method_that_few_use_keeps_its_name() -> None:
    assert read(b"PROPFIND / HTTP/1.1\r\nHost: test\r\n\r\n")[0].method == "PROPFIND"


@pytest.mark.parametrize(
    ("head", "keep_alive", "http11"),
    [
        (b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", True, True),
        (b"GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\n\r\n", True, True),
        (b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n", False, True),
        (b"GET / HTTP/1.0\r\n\r\n", False, False),
        (b"GET / HTTP/1.0\r\nHost: test\r\nConnection: Keep-Alive\r\n\r\n", True, False),
        (b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", True, False),
    ],
)
def test_version_and_persistence(head: bytes, keep_alive: bool, http11: bool) -> None:
    (request,) = read(head)
    assert (request.keep_alive, request.http11) == (keep_alive, http11)


SMUGGLED = {
    "two lengths": START + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "two equal lengths": START + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": START + b"Content-Length: 3, 3\r\n\r\nabc",
    "a signed length": START + b"Content-Length: +3\r\n\r\nabc",
    "a negative length": START + b"Content-Length: -3\r\n\r\nabc",
    "a hexadecimal length": START + b"Content-Length: 0x3\r\n\r\nabc",
    "an empty length": START + b"Content-Length: \r\n\r\nabc",
    "a length beyond 64 bits": START + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "length, then chunked": START + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then length": START + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "chunked twice": START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked, then something": START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunked in the middle": START + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "a vertical tab before chunked": START + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a length among the trailers": CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n",
    "a folded line": START + b"X: a\r\n b\r\n\r\n",
    "a folded coding": START + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a fold at the top": b"POST /a HTTP/1.1\r\n X: a\r\nHost: test\r\n\r\n",
    "a space before the colon": START + b"Content-Length : 3\r\n\r\nabc",
    "a tab before the colon": START + b"X\t: 3\r\n\r\n",
    "no name": START + b": 3\r\n\r\n",
    "no colon": START + b"X\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nHost: test\n\n",
    "one bare line feed": b"GET / HTTP/1.1\r\nHost: test\nX: b\r\n\r\n",
    "a bare carriage return": START + b"X: a\rY: b\r\n\r\n",
    "NUL in a value": START + b"X: a\0b\r\n\r\n",
    "NUL in a name": START + b"X\0: a\r\n\r\n",
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: test\r\n\r\n",
    "a control character": START + b"X: a\x01b\r\n\r\n",
    "a negative chunk": CHUNKED + b"-1\r\nabc\r\n0\r\n\r\n",
    "a chunk in 0x": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a signed chunk": CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n",
    "an underscored chunk": CHUNKED + b"1_0\r\nabc\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": CHUNKED + b"fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    "a chunk without size": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "a space after the chunk's size": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "a bare line feed after the chunk's size": CHUNKED + b"3\nabc\r\n0\r\n\r\n",
    "a bare line feed after the chunk": CHUNKED + b"3\r\nabc\n0\r\n\r\n",
    "a chunk longer than it says": CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n",
    "a chunk that ends without a line end": CHUNKED + b"3\r\nabc0\r\n\r\n",
    "a line feed in a chunk's extension": CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "a space in the target": b"GET /a b HTTP/1.1\r\nHost: test\r\n\r\n",
    "a target beyond ASCII": b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n",
    "a method in lower case": b"get / HTTP/1.1\r\nHost: test\r\n\r\n",
    "a method that nobody knows": b"FETCH / HTTP/1.1\r\nHost: test\r\n\r\n",
    "a tab after the method": b"GET\t/ HTTP/1.1\r\nHost: test\r\n\r\n",
    "a version that nobody knows": b"GET / HTTP/1.2\r\nHost: test\r\n\r\n",
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host": b"GET / HTTP/1.1\r\nX: 1\r\n\r\n",
    "two hosts": START + b"Host: other\r\n\r\n",
    "two hosts, long ago": b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
}


@pytest.mark.parametrize("data", SMUGGLED.values(), ids=SMUGGLED.keys())
def test_what_two_readers_might_read_in_two_ways_is_refused(data: bytes) -> None:
    assert refused(data) == 400


def test_nothing_behind_a_refused_request_is_read() -> None:
    for data in SMUGGLED.values():
        reader = Reader()
        with pytest.raises(Refusal):
            reader.feed(data + b"\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
        assert reader.requests == []


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"identity", b"gzip", b"xchunked", b"chunkedx"])
def test_codings_other_than_chunked_are_not_implemented(coding: bytes) -> None:
    assert refused(START + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n") == 501


def test_chunked_in_capitals_is_chunked() -> None:
    assert read(START + b"Transfer-Encoding: CHUNKED \r\n\r\n1\r\na\r\n0\r\n\r\n")[0].body == b"a"


@pytest.mark.parametrize("line", [b"GET / HTTP/2.0", b"GET / HTTP/0.9", b"GET /"])
def test_other_versions_are_refused(line: bytes) -> None:
    host = b"" if line == b"GET /" else b"Host: test\r\n"
    assert refused(line + b"\r\n" + host + b"\r\n") == 505


def test_connect_is_refused() -> None:
    assert refused(b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n") == 405
    assert refused(b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\nConnection: keep-alive\r\n\r\n") == 405


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"


def test_an_offer_to_upgrade_is_declined() -> None:
    data = b"".join(
        [
            START + OFFER + b"Content-Length: 3\r\n\r\nabc",
            START + OFFER + b"Transfer-Encoding: chunked\r\n\r\n3\r\ndef\r\n0\r\n\r\n",
            b"GET /b HTTP/1.1\r\nHost: test\r\n" + OFFER + b"\r\n",
            b"GET /c HTTP/1.1\r\nHost: test\r\n\r\n",
        ]
    )
    for size in (1, 7, 1000):
        reader = Reader()
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
        assert [(request.path, request.body) for request in reader.requests] == [
            ("/a", b"abc"),
            ("/a", b"def"),
            ("/b", b""),
            ("/c", b""),
        ]
        assert reader.stage == IDLE
        assert reader.requests[0].header(b"upgrade") is None
        assert reader.requests[0].header(b"http2-settings") is not None


def test_what_is_wrong_behind_an_offer_to_upgrade_is_refused_too() -> None:
    assert refused(START + OFFER + b"Content-Length: 9\r\n\r\n", ServerLimits(max_body=8)) == 413
    assert refused(START.replace(b"Host", b"Hose") + OFFER + b"\r\n") == 400
    reader = Reader()
    with pytest.raises(Refusal, match="not valid HTTP"):
        reader.feed(START + OFFER + b"\r\nGET\0")


def test_a_thousand_offers_in_one_piece() -> None:
    data = (b"GET / HTTP/1.1\r\nHost: test\r\n" + OFFER + b"\r\n") * 2000
    assert len(read(data)) == 2000


@pytest.mark.parametrize(("fields", "status"), [(10, 0), (11, 431)])
def test_the_number_of_fields_is_limited(fields: int, status: int) -> None:
    data = START + b"X: 1\r\n" * (fields - 1) + b"\r\n"
    limits = ServerLimits(max_headers=10)
    if status:
        assert refused(data, limits) == status
    else:
        assert len(read(data, limits)) == 1


@pytest.mark.parametrize(("size", "status"), [(1000, 0), (1001, 431)])
def test_the_size_of_the_head_is_limited(size: int, status: int) -> None:
    limits = ServerLimits(max_header=1000)
    rest = size - len("/a" + "Host" + "test" + "X")
    for data in (
        START + b"X: " + b"v" * rest + b"\r\n\r\n",
        START + b"X" * (rest + 1) + b": \r\n\r\n",
        b"GET /a" + b"u" * (rest + 1) + b" HTTP/1.1\r\nHost: test\r\n\r\n",
    ):
        if status:
            assert refused(data, limits) == status
        else:
            assert len(read(data, limits)) == 1


@pytest.mark.parametrize("endless", [b"X: 1\r\n", b"x", b"v"], ids=["fields", "a name", "a value"])
def test_a_head_that_never_ends_is_cut_off(endless: bytes) -> None:
    reader = Reader(ServerLimits(max_header=1000))
    reader.feed(START + (b"X: " if endless == b"v" else b""))
    pieces = iter([endless] * 10_000)
    with pytest.raises(Refusal) as refusal:
        feed_all(reader, pieces)
    assert refusal.value.status == 431
    assert (10_000 - len(list(pieces))) * len(endless) <= 2010


def test_many_small_pieces_cost_no_more_than_one_large() -> None:
    """What came before a request in the same piece, and how the pieces are cut, does not count against it."""
    limits = ServerLimits(max_header=100, max_body=100_000)
    head = START + b"X: " + b"v" * 80 + b"\r\n\r\n"
    body = START + b"Content-Length: 50000\r\n\r\n" + b"b" * 50_000
    for size in (1, 10, 60, 40_000, 100_000):
        reader = Reader(limits)
        data = body + head * 3 + body + head
        for at in range(0, len(data), size):
            reader.feed(data[at : at + size])
        assert len(reader.requests) == 6


@pytest.mark.parametrize(("size", "status"), [(100, 0), (101, 413)])
def test_the_size_of_the_body_is_limited(size: int, status: int) -> None:
    limits = ServerLimits(max_body=100)
    stated = START + b"Content-Length: %d\r\n\r\n" % size + b"b" * size
    chunked = CHUNKED + b"%x\r\n" % size + b"b" * size + b"\r\n0\r\n\r\n"
    if status:
        assert refused(stated, limits) == refused(chunked, limits) == status
    else:
        assert [len(request.body) for request in read(stated + chunked, limits)] == [size, size]


def test_a_body_too_large_is_refused_before_it_comes() -> None:
    reader = Reader(ServerLimits(max_body=100))
    with pytest.raises(Refusal, match="100 bytes"):
        reader.feed(START + b"Content-Length: 18446744073709551615\r\n\r\n")


@pytest.mark.parametrize(
    "endless", [b"1\r\na\r\n", b"1;" + b"e" * 500 + b"\r\na\r\n"], ids=["tiny chunks", "extensions"]
)
def test_more_wrapping_than_content_is_refused(endless: bytes) -> None:
    reader = Reader(ServerLimits(max_header=1000))
    reader.feed(CHUNKED)
    with pytest.raises(Refusal, match="more wrapping than content"):
        feed_all(reader, [endless] * 10_000)


def test_trailers_that_never_end_are_refused() -> None:
    reader = Reader(ServerLimits(max_header=1000))
    reader.feed(CHUNKED + b"0\r\n")
    with pytest.raises(Refusal):
        feed_all(reader, [b"X: 1\r\n"] * 10_000)


def test_chunks_of_a_usual_size_are_no_wrapping() -> None:
    reader = Reader(ServerLimits(max_header=100))
    reader.feed(CHUNKED)
    for _ in range(1000):
        reader.feed(b"10\r\n" + b"c" * 16 + b"\r\n")
    reader.feed(b"0\r\n\r\n")
    assert len(reader.requests[0].body) == 16_000


def test_it_says_what_it_is_in_the_middle_of() -> None:
    reader = Reader()
    marks = [reader.mark]
    for piece, stage in [
        (b"POST", HEAD),
        (b" /a HTTP/1.1\r\nHost: test\r\n", HEAD),
        (b"Expect: 100-Continue\r\nContent-Length: 2\r\n\r\n", BODY),
        (b"a", BODY),
        (b"b", IDLE),
        (START, HEAD),
    ]:
        reader.feed(piece)
        assert reader.stage == stage
        assert reader.owes_continue == (stage == BODY)
        marks.append(reader.mark)
    assert marks == [0, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize(
    ("head", "owes"),
    [
        (START + b"Expect: something\r\nContent-Length: 1\r\n\r\n", False),
        (b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", False),
        (START + b"Content-Length: 1\r\n\r\n", False),
        (START + b"Expect: 100-continue \r\nContent-Length: 1\r\n\r\n", True),
    ],
)
def test_who_waits_to_be_told_to_continue(head: bytes, owes: bool) -> None:
    reader = Reader()
    reader.feed(head)
    assert reader.owes_continue == owes


def test_a_defect_of_whoever_takes_the_requests_is_not_blamed_on_the_bytes() -> None:
    def broken(request: Request) -> None:
        raise KeyError(request.path)

    reader = RequestReader(ServerLimits(), broken, Arriving(0))
    with pytest.raises(KeyError, match=re.escape("/a")):
        reader.feed(START + b"\r\n")


def test_a_closed_reader_holds_nothing() -> None:
    reader = Reader()
    reader.close()
    assert not hasattr(reader, "_parser")


LONG = START + b"Content-Length: 100\r\n\r\n"


def test_bodies_that_are_not_whole_count_together() -> None:
    arriving = Arriving(100)
    one, two = Reader(arriving=arriving), Reader(arriving=arriving)
    one.feed(LONG + b"x" * 60)
    two.feed(LONG)
    two.feed(b"x" * 40)
    assert arriving.size == 100
    with pytest.raises(Refusal) as caught:
        two.feed(b"x")
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    two.close()
    assert arriving.size == 60
    one.feed(b"x" * 40 + LONG + b"x")
    assert ([len(request.body) for request in one.requests], arriving.size) == ([100], 1)
    one.close()
    assert arriving.size == 0


def test_what_arrives_whole_and_who_is_alone_is_let_in() -> None:
    arriving = Arriving(10)
    alone, other = Reader(arriving=arriving), Reader(arriving=arriving)
    feed_all(alone, [LONG, b"x" * 50, b"x" * 49])
    assert arriving.size == 99
    other.feed(LONG + b"x" * 100)
    assert len(other.requests) == 1
    alone.feed(b"x")
    assert (len(alone.requests), arriving.size) == (1, 0)


def test_less_is_never_refused() -> None:
    arriving = Arriving(10)
    arriving.size = 50
    reader = Reader(arriving=arriving)
    with pytest.raises(Refusal):
        reader.feed(LONG + b"x")
    arriving.add(-1, 0)
    assert arriving.size == 50
