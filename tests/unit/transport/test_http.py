"""What both ends share."""

from __future__ import annotations

from ai_client.transport.http import STATUS_LINES, find_header


def test_every_status_has_its_line() -> None:
    assert STATUS_LINES[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINES[429] == b"HTTP/1.1 429 Too Many Requests\r\n"
    assert STATUS_LINES[529] == b"HTTP/1.1 529 Status\r\n"
    assert set(STATUS_LINES) == set(range(100, 1000))


def test_the_first_of_a_name_is_found() -> None:
    headers = [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert find_header(headers, b"a") == b"1"
    assert find_header(headers, b"b") == b"2"
    assert find_header(headers, b"c") is None
