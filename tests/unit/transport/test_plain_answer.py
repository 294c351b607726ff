"""What is plain is read at once; whatever is not is left to the parser."""

from __future__ import annotations

import pytest

from ai_client.transport.plain_answer import read_plain

BODY = b'{"id": "a"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n"
JSON = (b"content-type", b"application/json")
LENGTH = (b"content-length", b"11")


def with_lines(*lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + BODY


def test_it_reads_a_whole_answer() -> None:
    assert read_plain(with_lines(b"X-Request-ID: \t req_1", b"empty:  ")) == (
        [JSON, LENGTH, (b"x-request-id", b"req_1"), (b"empty", b"")],
        BODY,
    )


def test_the_order_of_the_lines_is_free_and_a_body_may_be_empty_or_look_like_a_head() -> None:
    for body in (b"", b"\r\n\r\n", HEAD):
        data = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: application/json; charset=utf-8\r\n\r\n%b"
        read = read_plain(data % (len(body), body))
        assert read is not None
        assert read[1] == body


@pytest.mark.parametrize(
    "line",
    [b"Connection: keep-alive", b"connection: Keep-Alive", b"keep-alive: timeout=5", b"a!#$%&'*+-.^_`|~9: \xff\t\x80"],
)
def test_these_lines_change_nothing(line: bytes) -> None:
    read = read_plain(with_lines(line))
    assert read is not None
    assert len(read[0]) == 3


@pytest.mark.parametrize(
    "line",
    [
        b"connection: close",
        b"connection: keep-alive, upgrade",
        b"proxy-connection: keep-alive",
        b"transfer-encoding: chunked",
        b"upgrade: h2c",
        b"content-length: 11",  # twice, even where both agree
        b"content-length: 1x",
        b"content-length: -1",
        b"content-length: 1234567890123",
        b"content-type: text/event-stream",
        b" folded: 1",
        b"a b: 1",
        b"name : 1",
        b": 1",
        b"no colon",
        b"",
        b"a: \x00",
        b"a: 1\n2",
        b"a: 1\r2",
        b"a\n: 1",
        b"\xff: 1",
    ],
)
def test_an_answer_with_such_a_line_is_for_the_parser(line: bytes) -> None:
    assert read_plain(with_lines(line)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HEAD,
        with_lines()[:-1],
        with_lines() + b"H",
        b"\r\n" + with_lines(),
        with_lines().replace(b"200 OK", b"200 Fine"),
        with_lines().replace(b"200 OK", b"429 Too Many Requests"),
        with_lines().replace(b"HTTP/1.1", b"HTTP/1.0"),
        with_lines().replace(b"Content-Length: 11\r\n", b""),
        with_lines().replace(b"application/json", b"text/plain"),
        with_lines().replace(b"Content-Type: application/json\r\n", b""),
        with_lines().replace(b"\r\n", b"\n"),
    ],
)
def test_it_is_whole_and_of_one_kind_or_for_the_parser(data: bytes) -> None:
    assert read_plain(data) is None
