"""A call in OpenAI's dialect, as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from ai_client.errors import AuthenticationError, InvalidRequestError
from ai_client.model.call import Attempt, Call, Headers
from ai_client.model.prefill import PLAIN, write_prefill
from ai_client.model.request import OTHER, Endpoint
from ai_client.transport.http import Header
from ai_client.transport.pool import Origin

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Wire:
    """Writes requests to one origin with one key. What never changes is written once."""

    def __init__(
        self,
        origin: Origin,
        api_key: str,
        user_agent: str,
        *,
        stream_usage: bool,
        styles: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`styles` says how each model is asked to go on from a given beginning; see `model.prefill`."""
        if any(not "!" <= character <= "~" for character in api_key):
            raise AuthenticationError(
                "the API key has characters that no key has: was a newline or quote copied with it?"
            )
        self._prefix = origin.path
        self._stream_usage = stream_usage
        self._styles = styles
        lines = [f"host: {origin.authority}", f"user-agent: {user_agent}", "accept-encoding: identity"]
        if api_key:
            lines.append(f"authorization: Bearer {api_key}")
        self._common = ("\r\n".join(lines) + "\r\n").encode("latin-1")
        self._heads: dict[Endpoint, bytes] = {
            endpoint: self._head("POST", endpoint) + b"content-type: application/json\r\n"
            for endpoint in Endpoint
            if endpoint is not Endpoint.OTHER
        }

    def request(self, attempt: Attempt) -> bytes:
        """The whole request: head and body."""
        call = attempt.call
        head = self._heads.get(call.endpoint)
        if head is None:
            if any(not "!" <= character <= "~" for character in call.method + call.path):
                raise InvalidRequestError(f"the path {call.path!r} has characters that a request line cannot carry")
            head = self._head(call.method, call.path)
        fields = call.fields
        plain = not fields.stream and attempt.target.upstream_model == fields.model
        body = call.body if plain else self.body(attempt)
        lines = b""
        for pair in call.headers:
            if pair[0] != b"content-type" or call.endpoint is OTHER:  # the heads of the others have theirs
                lines += b"%b: %b\r\n" % _one_line(pair)
        return b"%b%bcontent-length: %d\r\n\r\n%b" % (head, lines, len(body), body)

    def body(self, attempt: Attempt) -> bytes:
        """The caller's body, byte for byte unless the model's name or the usage option has to change, or it takes up a
        text.
        """
        call = attempt.call
        fields = call.fields
        renamed = bool(attempt.target.upstream_model) and attempt.target.upstream_model != fields.model
        wants_usage = self.adds_usage(call)
        if not renamed and not wants_usage and not call.prefill:
            return call.body
        members = _OBJECT.decode(call.body)
        if renamed:
            members["model"] = msgspec.Raw(msgspec.json.encode(attempt.target.upstream_model))
        if call.prefill:
            write_prefill(members, call.prefill, self._styles.get(attempt.target.model, PLAIN))
        if wants_usage:
            options = _OBJECT.decode(members["stream_options"]) if _is_object(members.get("stream_options")) else {}
            options["include_usage"] = msgspec.Raw(b"true")
            members["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
        return msgspec.json.encode(members)

    def adds_usage(self, call: Call) -> bool:
        """Do we ask for the usage of this stream where the caller did not, to bill it exactly?"""
        fields = call.fields
        return (
            self._stream_usage
            and fields.stream
            and not fields.include_usage
            and call.endpoint in (Endpoint.CHAT, Endpoint.COMPLETIONS)
        )

    def _head(self, method: str, path: str) -> bytes:
        return f"{method} {self._prefix}{path} HTTP/1.1\r\n".encode("latin-1") + self._common


def _one_line(pair: Header) -> Header:
    """A header that stays one: whoever builds it from other people's text must not be able to send a second."""
    for text in pair:
        if b"\n" in text or b"\r" in text or b"\0" in text:
            raise InvalidRequestError(f"the header {pair[0].decode('latin-1')!r} has a line end in it")
    return pair


def _is_object(raw: msgspec.Raw | None) -> bool:
    return raw is not None and bytes(raw)[:1] == b"{"


FORWARDED_REQUEST_HEADERS = frozenset(
    {b"content-type", b"accept", b"idempotency-key", b"openai-beta", b"openai-organization", b"openai-project"}
)
"""The caller's headers that the provider sees. Its credentials, cookies and addresses stay here."""


def forwarded(headers: Headers) -> Headers:
    """Those of the caller's headers that the provider may see."""
    return [pair for pair in headers if pair[0] in FORWARDED_REQUEST_HEADERS]
