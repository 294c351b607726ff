"""What is read without the parser, the parser reads in the same way: nothing can mean two things."""

from __future__ import annotations

import httptools
from hypothesis import given
from hypothesis import strategies as st

from ai_client.transport.http import framing
from ai_client.transport.plain_answer import read_plain


class Reader:
    """llhttp's reading of some bytes."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.messages = 0
        self.keeps = False
        self._parser = httptools.HttpResponseParser(self)
        self._parser.feed_data(data)
        self.status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.messages += 1
        self.keeps = self._parser.should_keep_alive()


names = st.sampled_from(
    [
        b"Content-Length",
        b"content-type",
        b"connection",
        b"Connection",
        b"transfer-encoding",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
        b"X-A",
        b"date",
    ]
) | st.binary(max_size=3)
values = st.sampled_from(
    [
        b"0",
        b"2",
        b"02",
        b"2, 2",
        b"application/json",
        b"application/json; charset=utf-8",
        b"text/plain",
        b"keep-alive",
        b"close",
        b"Keep-Alive, close",
        b"chunked",
        b"identity",
        b"h2c",
    ]
) | st.binary(max_size=4)
odd = st.tuples(names, st.sampled_from([b":", b": ", b":\t ", b" :", b""]), values, st.sampled_from([b"", b" ", b"\t"]))
even = st.from_regex(rb"[A-Za-z-]{1,3}:[ \t]?[ -~\t\x80-\xff]{0,5}", fullmatch=True)
PLAIN = [b"content-length: 2", b"content-type: application/json"]


@given(
    st.lists(odd.map(b"".join) | even, max_size=3),
    st.just(PLAIN) | st.lists(st.sampled_from(PLAIN), max_size=3),
    st.just(b"{}") | st.sampled_from([b"", b"{}{", b"\r\n"]),
    st.randoms(use_true_random=False),
)
def test_the_parser_reads_it_likewise(some: list[bytes], plain: list[bytes], body: bytes, order: object) -> None:
    head = some + plain
    order.shuffle(head)  # type: ignore[attr-defined]
    data = b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in head) + b"\r\n" + body
    read = read_plain(data)
    if read is None:
        return
    theirs = Reader(data)
    assert (theirs.status, theirs.headers, theirs.body) == (200, *read)
    assert theirs.messages == 1
    assert theirs.keeps
    assert framing(theirs.headers) == (True, len(read[1]), False)
