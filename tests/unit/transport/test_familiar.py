"""A head that came before is known by its bytes, and by nothing less."""

from __future__ import annotations

import pytest

from ai_client.transport.exchange import Request
from ai_client.transport.familiar import Familiar
from ai_client.transport.request_reader import Arriving, RequestReader, ServerLimits

HEAD = b"POST /a?b HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\nX-One: 1\r\n\r\n"
LIMITS = ServerLimits(max_body=1000)


def whole(body: bytes) -> bytes:
    return HEAD % len(body) + body


def read(*pieces: bytes) -> list[Request]:
    requests: list[Request] = []
    reader = RequestReader(LIMITS, requests.append, Arriving(1000))
    for piece in pieces:
        reader.feed(piece)
    return requests


def familiar(data: bytes) -> Familiar | None:
    (request,) = read(data)
    return Familiar.of(data, request, LIMITS.max_body)


def seen(request: Request | None) -> tuple[object, ...]:
    assert request is not None
    return (
        request.method,
        request.path,
        request.query,
        request.headers,
        request.body,
        request.keep_alive,
        request.http11,
        request.peer_uid,
    )


@pytest.mark.parametrize("body", [b"hello", b"howdy", b"", b"x" * 1000, b"\r\n\r\n", HEAD % 5])
def test_it_reads_what_the_parser_reads(body: bytes) -> None:
    known = familiar(whole(b"hello"))
    assert known is not None
    assert seen(known.again(whole(body))) == seen(read(whole(body))[0])


@pytest.mark.parametrize(
    "data",
    [
        whole(b"hello")[:-1],  # a part of it
        whole(b"hello") + b"P",  # more than it
        HEAD % 5,  # its head alone
        whole(b"hello").replace(b"/a", b"/b"),
        whole(b"hello").replace(b"X-One: 1", b"X-One: 2"),
        whole(b"hello").replace(b": 5", b":  5"),
        whole(b"hello").replace(b": 5", b": +5"),
        whole(b"hello").replace(b": 5", b": "),
        whole(b"hello").replace(b": 5", b": " + b"0" * 20 + b"5"),
        whole(b"x" * 1001),  # a body too large
        (HEAD % 5)[:60],
        b"",
    ],
)
def test_anything_else_is_left_to_the_parser(data: bytes) -> None:
    known = familiar(whole(b"hello"))
    assert known is not None
    assert known.again(data) is None


def test_a_head_without_a_length_or_with_bytes_before_it_is_not_remembered() -> None:
    assert familiar(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n") is None
    assert familiar(b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n") is None
    assert familiar(b"\r\n" + whole(b"hello")) is None
    two = whole(b"hello") + whole(b"again")
    assert Familiar.of(two, read(two)[1], LIMITS.max_body) is None


def test_a_repeated_head_shares_its_notes_and_no_body() -> None:
    first, second, third = read(whole(b"hello"), whole(b"again"), whole(b"longer"))
    first.notes["k"] = 1
    assert second.notes is third.notes
    assert second.notes is first.notes
    assert second.headers is first.headers
    assert third.headers == [(b"host", b"test"), (b"content-length", b"6"), (b"x-one", b"1")]
    other = whole(b"hello").replace(b"X-One", b"X-Two")
    assert read(whole(b"hello"), other)[1].notes == {}


def test_a_resting_reader_keeps_no_body() -> None:
    reader = RequestReader(LIMITS, lambda request: None, Arriving(1000))
    for pieces in ([whole(b"hello")], [HEAD % 5, b"hello"], [whole(b"hello")]):
        for piece in pieces:
            reader.feed(piece)
        assert reader._latest is None
    assert reader._familiar is not None
    assert reader._familiar._request.body == b""


def test_a_head_is_known_after_one_that_came_in_pieces() -> None:
    requests = read(whole(b"hello"), HEAD % 5, b"again", whole(b"third"), whole(b"a") + whole(b"b"), whole(b"c"))
    assert [request.body for request in requests] == [b"hello", b"again", b"third", b"a", b"b", b"c"]
