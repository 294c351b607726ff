"""Requests out of bytes, within limits. No I/O: what arrives is fed in, whole requests come out.

llhttp parses, in its strict mode: conflicting or repeated lengths, a length beside a transfer coding, folded header
lines, bare line feeds, white space before a colon, control characters and malformed chunk sizes are all refused by
it. What it lets pass and RFC 9112 does not is refused here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httptools
import msgspec

from ai_client.transport.exchange import Request
from ai_client.transport.familiar import Familiar
from ai_client.transport.http import Header

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2

# The method as text, without decoding it for each request.
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")}
# The fields that say something of the request's framing or of its connection.
_FRAMING: Final = frozenset(
    {
        b"host",
        b"content-length",
        b"expect",
        b"transfer-encoding",
        b"upgrade",
        b"connection",
        b"proxy-connection",  # llhttp takes it for Connection
    }
)


class ServerLimits(msgspec.Struct, frozen=True):
    """What the server bears. Sizes in bytes, times in seconds.

    `max_header` counts the target, the names and the values. `header_timeout` and `body_timeout` run from the
    beginning of each; `write_timeout` is how long a client may read nothing of what it is sent. `max_arriving` bounds
    what all connections together hold of bodies that nobody has begun to answer.
    """

    max_body: int = 32 * 1024 * 1024
    max_header: int = 32 * 1024
    max_headers: int = 100
    header_timeout: float = 10.0
    body_timeout: float = 30.0
    keepalive_timeout: float = 75.0
    max_connections: int = 10_000
    write_timeout: float = 60.0
    max_arriving: int = 256 * 1024 * 1024


class Arriving:
    """How many bytes of bodies wait, for their rest or for their turn, on all connections of a server."""

    __slots__ = ("_most", "size")

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = 0

    def add(self, more: int, own: int) -> None:
        """So many more, or less, on a connection that now has `own`. Raises `Refusal` beyond the bound; one alone may
        have all, for waiting would not make it smaller.
        """
        self.size += more
        if more > 0 and self.size > self._most and self.size > own:
            raise Refusal(503, "overloaded", "more bodies are arriving than this daemon can hold: try again")


class Refusal(Exception):
    """What arrived cannot be served, and the connection cannot go on after it: an answer of HTTP's own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class RequestReader:
    """Calls `arrived` for each whole request, from within `feed`.

    `stage` says what the reader is in the middle of; `mark` is a number that changes with every stage;
    `owes_continue` that the client waits for `100 Continue` before it sends its body.
    """

    __slots__ = (
        "_arrived",
        "_arriving",
        "_body",
        "_body_size",
        "_familiar",
        "_headers",
        "_held",
        "_inside",
        "_latest",
        "_limits",
        "_parser",
        "_request",
        "_seen",
        "_url",
        "mark",
        "owes_continue",
        "stage",
    )

    def __init__(self, limits: ServerLimits, arrived: Callable[[Request], None], arriving: Arriving) -> None:
        """`arriving` is counted up and down with the body that is not whole yet."""
        self._limits = limits
        self._arrived = arrived
        self._arriving = arriving
        self._held = 0  # what `arriving` has of this connection
        self._parser: httptools.HttpRequestParser = httptools.HttpRequestParser(self)
        self.stage = IDLE
        self.mark = 0
        self.owes_continue = False
        self._url = b""
        self._headers: list[Header] = []
        self._request: Request | None = None
        self._latest: Request | None = None  # the last that was given out of what is being fed
        self._familiar: Familiar | None = None
        self._body: list[bytes] = []
        self._body_size = 0
        self._seen = 0  # bytes since the request began: never too few, perhaps too many
        self._inside = 0  # bytes of the present stage: never too many, perhaps too few

    def feed(self, data: bytes) -> None:
        """Take what arrived. Raises `Refusal`; the reader is of no use then."""
        between = self.stage == IDLE
        if between and self._familiar is not None:
            request = self._familiar.again(data)
            if request is not None:
                self._arrived(request)
                return
        self._parse(data)
        latest, self._latest = self._latest, None
        if between and self.stage == IDLE and latest is not None:
            self._familiar = Familiar.of(data, latest, self._limits.max_body)

    def _parse(self, data: bytes) -> None:
        mark = self.mark
        size = len(data)
        self._seen += size
        while True:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
            except httptools.HttpParserError as error:
                raise _reason(error) from None
            data = self._without_offer() + data
        if self._body_size != self._held:
            self._hold(self._body_size)
        if self.stage == IDLE:
            self._seen = 0
        elif self.mark == mark:
            self._inside += size
            self._check_unfinished()

    def close(self) -> None:
        """Let go of everything: the parser refers to this reader, and this reader to the parser."""
        self._arriving.size -= self._held
        del self._parser, self._arrived

    def _hold(self, size: int) -> None:
        """Of a body that is not whole yet there is so much. What arrives whole at once never comes here."""
        more, self._held = size - self._held, size
        self._arriving.add(more, size)

    # ---- the parser's side

    def on_message_begin(self) -> None:
        self.stage = HEAD
        self.mark += 1
        self._inside = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        limits = self._limits
        headers = self._headers
        if len(headers) > limits.max_headers or (
            self._seen > limits.max_header and self._head_size() > limits.max_header
        ):
            raise self._header_too_large()
        keep_alive = self._parser.should_keep_alive()
        # asking for the version costs more than all else here: a connection that persists without a word is 1.1
        http11 = keep_alive
        hosts = 0
        for name, value in headers:
            if name in _FRAMING:
                if name == b"host":
                    hosts += 1
                elif name == b"content-length":
                    if int(value) > limits.max_body:
                        raise self._body_too_large()
                else:
                    http11 = False
                    self._look_into(name, value)
        if not http11:
            if self._parser.should_upgrade():
                self._rare_method(self._parser.get_method())
                return  # `feed` hears of it next
            http11 = self._is_http11()
        if hosts != 1 and (http11 or hosts):
            raise Refusal(400, "invalid_request", f"a request names its host in one Host header; this one has {hosts}")
        self._begin_body(headers, keep_alive, http11)

    def _look_into(self, name: bytes, value: bytes) -> None:
        if name == b"expect":
            self.owes_continue = value.strip().lower() == b"100-continue"
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            raise Refusal(501, "invalid_request", "of the transfer codings this server knows `chunked` alone")

    def _begin_body(self, headers: list[Header], keep_alive: bool, http11: bool) -> None:
        token = self._parser.get_method()
        method = _METHODS.get(token) or self._rare_method(token)
        self.stage = BODY
        self.mark += 1
        self._inside = 0
        if not http11:
            self.owes_continue = False
        self._request = Request.to(self._url, method, headers, keep_alive, http11)
        self._headers = []  # what follows the body are trailers: nothing may pass them off as headers

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._limits.max_body:
            raise self._body_too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        request = self._request
        if request is None:
            return
        self._request = None
        body = self._body
        if body:
            request.body = body[0] if len(body) == 1 else b"".join(body)
            self._body = []
            self._body_size = 0
        self.stage = IDLE
        self.owes_continue = False
        self._latest = request
        self._arrived(request)

    # ---- deciding

    @staticmethod
    def _rare_method(token: bytes) -> str:
        if token == b"CONNECT":
            raise Refusal(405, "method_not_allowed", "this server is no proxy: it does not CONNECT")
        return token.decode("latin-1")

    def _is_http11(self) -> bool:
        version: str = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise Refusal(505, "invalid_request", f"this server speaks HTTP/1.1, not HTTP/{version}")
        return version == "1.1"

    def _head_size(self) -> int:
        return len(self._url) + sum(len(name) + len(value) for name, value in self._headers)

    def _check_unfinished(self) -> None:
        """A head, or the wrapping of a body, that never ends."""
        limits = self._limits
        if self.stage == HEAD:
            # twice: nothing that would be let in whole is refused in pieces, for the sake of its line ends
            if self._inside > 2 * limits.max_header:
                raise self._header_too_large()
        elif self._inside - self._body_size > self._body_size + limits.max_header:
            raise Refusal(400, "invalid_request", "the body comes in chunks that are more wrapping than content")

    def _without_offer(self) -> bytes:
        """The head just read, without its offer to change protocols (RFC 9110 section 7.8), for a new parser.

        Java's HTTP client makes the offer with its first request to every server, and llhttp would take what follows
        the head for the other protocol.
        """
        fields = b"".join(b"%b: %b\r\n" % pair for pair in self._headers if pair[0] != b"upgrade")
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        self._parser = httptools.HttpRequestParser(self)
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, fields)

    def _header_too_large(self) -> Refusal:
        limits = self._limits
        text = f"the request's header is too large: at most {limits.max_headers} fields and {limits.max_header} bytes"
        return Refusal(431, "header_too_large", text)

    def _body_too_large(self) -> Refusal:
        return Refusal(413, "request_too_large", f"the body is too large: at most {self._limits.max_body} bytes")


def _reason(error: httptools.HttpParserError) -> BaseException:
    """What lies behind a parser's error: our own refusal, a defect of whoever we called, or the bytes."""
    if isinstance(error, httptools.HttpParserCallbackError) and error.__context__ is not None:
        return error.__context__
    return Refusal(400, "invalid_request", f"this is not valid HTTP/1.1: {error}")
