"""A head that came before. A client says the same one again and again, but for the length of the body behind it."""

from __future__ import annotations

from typing import Final

from ai_client.transport.exchange import Request

_LENGTH: Final = b"content-length"
_MOST_DIGITS: Final = 12


class Familiar:
    """A head that llhttp has parsed and the reader has let in, to be recognised by its bytes.

    Two heads that are equal but for the digits of their Content-Length mean the same but for that length. Nothing
    less than equality counts, so nothing can be read here in another way than the parser read it.
    """

    __slots__ = ("_after", "_before", "_max_body", "_place", "_request")

    def __init__(self, request: Request, before: bytes, after: bytes, place: int, max_body: int) -> None:
        """`before` and `after` stand around the digits; `place` is that of the length among the headers."""
        self._request = request.again(b"")  # an idle connection keeps no body in memory
        self._before = before
        self._after = after
        self._place = place
        self._max_body = max_body

    @classmethod
    def of(cls, data: bytes, request: Request, max_body: int) -> Familiar | None:
        """From the bytes that were read as `request`; None where they are more, or state no length."""
        end = len(data) - len(request.body)
        head = data[:end]
        at = head.lower().find(b"\r\n%b:" % _LENGTH)
        # the parser passes over line ends before a request, so the first empty line may not be the head's own
        if at < 0 or not data[:1].isalpha() or head.find(b"\r\n\r\n") != end - 4:
            return None
        place = next(index for index, pair in enumerate(request.headers) if pair[0] == _LENGTH)
        digits = request.headers[place][1]
        start = head.index(digits, at + len(_LENGTH) + 3)
        return cls(request, head[:start], head[start + len(digits) :], place, max_body)

    def again(self, data: bytes) -> Request | None:
        """The request that `data` is, if it is exactly one with this head and its whole body."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        start = len(before)
        end = data.find(b"\r", start, start + _MOST_DIGITS)
        digits = data[start:end]
        if end < 0 or not digits.isdigit() or not data.startswith(after, end):
            return None
        body = data[end + len(after) :]
        size = len(body)
        if size != int(digits) or size > self._max_body:
            return None
        former = self._request
        request = former.again(body)
        if digits != former.headers[self._place][1]:
            request.headers = headers = former.headers.copy()
            headers[self._place] = (_LENGTH, digits)
        return request
