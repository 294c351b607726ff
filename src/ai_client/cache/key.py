"""When two calls are the same call.

The key is exact: two calls share one only if every provider has to read them alike. Folding any further, letter case or
punctuation say, was measured to mistake one question for another in more than a tenth of all matches.

Not told apart: the order of an object's members, white space, and how a character of a string is escaped. Numbers are
compared as they are written, so that 1, 1.0 and 1e0 differ: what a provider makes of them is its own affair. JSON that
is broken, or names a member of an object twice (readers differ on which one counts), is compared byte by byte.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from ai_client.model.call import Headers
from ai_client.model.request import Endpoint

_DIGEST_BYTES: Final = 32
_NAMESPACE: Final = b"ai-client/cache1"
"""Sets our hashes apart from others; to be changed with the rules, so that old entries are never found again."""

IGNORED_FIELDS: Final = frozenset({"user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"})
"""Members of the body that never change the answer. The first two tell the provider's abuse monitoring who the end user
is; the others help it find and keep its own prefix cache (OpenAI API reference, "Create chat completion").
`/responses` repeats them in its answer, so they count there."""

IGNORED_HEADERS: Final = frozenset(
    {b"content-type", b"idempotency-key", b"traceparent", b"tracestate", b"x-request-id"}
)
"""Headers that never change the answer: cached calls are JSON all, and the others name one sending of a call."""

_decoder = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode()))
_encoder = msgspec.json.Encoder(order="sorted")


def cache_key(endpoint: Endpoint, path: str, scope: str, headers: Headers, body: bytes) -> bytes:
    """32 bytes that are equal for equal calls, and for no others (BLAKE2b, RFC 7693).

    `path` is that of the call, query included. `scope` parts callers who must not see each other's answers: the app,
    and whatever of the configuration decides on the answer. `headers` are those that the provider will see.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES, person=_NAMESPACE)
    canonical = _canonical(body, frozenset() if endpoint is Endpoint.RESPONSES else IGNORED_FIELDS)
    parts = [path.encode(), scope.encode(), b"exact" if canonical is None else b"canonical", canonical or body]
    for header in sorted(header for header in headers if header[0] not in IGNORED_HEADERS):
        parts += header
    for part in parts:
        digest.update(b"%d:" % len(part))  # the length in front keeps the parts apart
        digest.update(part)
    return digest.digest()


def _canonical(body: bytes, ignored: frozenset[str]) -> bytes | None:
    """The body in the one form of all that mean the same; None when there is none."""
    try:
        value: Any = _decoder.decode(body)
        canonical = _encoder.encode(value)
    except (ValueError, RecursionError):  # broken, not UTF-8, a number beyond reason, or nested too deeply
        return None
    if _quotes(canonical) != _quotes(body):
        return None
    if isinstance(value, dict) and not ignored.isdisjoint(value):
        canonical = _encoder.encode({name: each for name, each in value.items() if name not in ignored})
    return canonical


def _quotes(body: bytes) -> int:
    """How many quotation marks begin or end a string.

    A member named twice is decoded once, and then its name is missing from the count: that betrays it, at a fraction of
    what looking into each object would take.
    """
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return body.count(b'"')
