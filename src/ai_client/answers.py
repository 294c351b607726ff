"""What every face says of a call in OpenAI's terms: headers that tell what happened, errors as JSON."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

import msgspec

from ai_client.errors import AIClientError, UpstreamStatusError
from ai_client.model.call import Headers
from ai_client.model.record import Record
from ai_client.model.usage import Usage

_USAGE = re.compile(rb"estimated;input=(\d{1,18});output=(\d{1,18})")
JSON = (b"content-type", b"application/json")
TOLD: Final = frozenset(
    {
        b"x-ai-client-target",
        b"x-ai-client-attempts",
        b"x-ai-client-queue-ms",
        b"x-ai-client-queue-position",
        b"x-ai-client-queue-expected-ms",
        b"x-ai-client-hedge",
        b"x-ai-client-cache",
        b"x-ai-client-commit",
        b"x-ai-client-cost-usd",
        b"x-ai-client-usage",
    }
)
"""The headers in which we say what happened. From a provider they would be somebody else's story, told in our name."""
_ONE_ATTEMPT = (b"x-ai-client-attempts", b"1")
_NO_QUEUE = (b"x-ai-client-queue-ms", b"0.0")


def told(record: Record) -> Headers:
    """Headers that tell what happened to a call."""
    # the usual case is at hand: to format a number costs as much as all the rest
    attempts, queued = record.attempts, record.queue_ns
    headers: Headers = [
        (b"x-request-id", record.request_id.encode("latin-1")),
        _target(record.target),
        _ONE_ATTEMPT if attempts == 1 else (b"x-ai-client-attempts", b"%d" % attempts),
        _NO_QUEUE if not queued else (b"x-ai-client-queue-ms", b"%.1f" % (queued / 1e6)),
    ]
    if record.queue_position:
        headers.append((b"x-ai-client-queue-position", b"%d" % record.queue_position))
        headers.append((b"x-ai-client-queue-expected-ms", b"%.1f" % (record.queue_expected_ns / 1e6)))
    if record.hedge:
        headers.append((b"x-ai-client-hedge", record.hedge.encode("latin-1")))
    if record.cache:
        headers.append((b"x-ai-client-cache", record.cache.encode("latin-1")))
    if record.commit:
        headers.append((b"x-ai-client-commit", record.commit.encode("latin-1")))
    return headers


@lru_cache(256)
def _target(name: str) -> tuple[bytes, bytes]:
    if not name.isprintable():  # a model's name may be the caller's own words: no line may end in it
        name = "".join(character if character.isprintable() else "?" for character in name)
    return b"x-ai-client-target", name.encode("latin-1", "replace")


def told_whole(record: Record) -> Headers:
    """The same of a call that is over: its cost, too, if that is known, and our count where the provider had none."""
    headers = told(record)
    if not record.unpriced:
        headers.append((b"x-ai-client-cost-usd", usd(record.cost_nano)))
    usage = record.usage
    if usage.estimated:  # a token with parameters, as RFC 8941 writes them
        counts = usage.input_tokens, usage.output_tokens
        headers.append((b"x-ai-client-usage", b"estimated;input=%d;output=%d" % counts))
    return headers


def read_usage(said: bytes) -> Usage:
    """The reverse of what `x-ai-client-usage` says. Raises ValueError for anything else."""
    found = _USAGE.fullmatch(said)
    if found is None:
        raise ValueError(f"not a count of tokens: {said!r}")
    return Usage(int(found[1]), int(found[2]), estimated=True)


def usd(nano: int) -> bytes:
    """Nano-dollars as a decimal number of dollars."""
    return b"%d.%09d" % divmod(nano, 1_000_000_000)


def nano(usd_text: bytes) -> int:
    """The reverse of `usd`. Raises ValueError for anything else."""
    whole, _, fraction = usd_text.partition(b".")
    return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))


def error_headers(error: AIClientError, record: Record | None = None) -> Headers:
    """Headers of an error: what happened, and when to come back."""
    headers: Headers = [JSON]
    if record is not None:
        headers += told(record)
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
        headers.append((b"retry-after-ms", b"%d" % math.ceil(error.retry_after * 1000)))
    return headers


def error_event(error: AIClientError) -> bytes:
    """An error in the middle of a stream, whose status has long left: an event that the official SDK raises.

    Without a name, as OpenAI's own chunks are: the SDK of 1.12 passes over events that have one.
    """
    return b"data: %b\n\n" % error_json(error)


def error_json(error: AIClientError) -> bytes:
    """The body of an error: the provider's own where it sent one in the usual shape, otherwise ours."""
    if isinstance(error, UpstreamStatusError) and error.body[:1] == b"{" and b'"error"' in error.body:
        return error.body
    kind = error.type
    return msgspec.json.encode(
        {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code or kind}}
    )
