"""What a provider says of its own limits, in the headers of its answers.

OpenAI's `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` (its guide on rate limits), as many others send them,
and Anthropic's `anthropic-ratelimit-{requests,tokens,input-tokens,output-tokens}-{limit,remaining,reset}` (its page on
rate limits). What cannot be understood is taken for not said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from ai_client.limits.base import SECOND_NS, Kind

_KINDS: Final[Mapping[bytes, Kind]] = {
    b"requests": Kind.REQUESTS,
    b"tokens": Kind.TOKENS,
    b"input-tokens": Kind.INPUT_TOKENS,
    b"output-tokens": Kind.OUTPUT_TOKENS,
}
_FACTS: Final = (b"limit", b"remaining", b"reset")
_NAMES: Final[Mapping[bytes, tuple[Kind, bytes]]] = {
    **{b"x-ratelimit-%s-%s" % (fact, name): (kind, fact) for name, kind in _KINDS.items() for fact in _FACTS},
    **{b"anthropic-ratelimit-%s-%s" % (name, fact): (kind, fact) for name, kind in _KINDS.items() for fact in _FACTS},
}
_COUNT: Final = re.compile(rb"(\d{1,15})(?:\.0*)?", re.ASCII)
_NUMBER: Final = re.compile(rb"\d{1,15}(?:\.\d{0,9})?", re.ASCII)
_SPAN: Final = re.compile(
    rb"(?:(\d{1,6})d)?(?:(\d{1,8})h)?(?:(\d{1,10})m(?!s))?(?:(\d{1,12}(?:\.\d{0,9})?)s)?(?:(\d{1,15}(?:\.\d{0,9})?)ms)?",
    re.ASCII,
)
_UNITS: Final = (86_400.0, 3600.0, 60.0, 1.0, 0.001)
_MOMENT: Final = 1e9  # as many seconds are no span: they are counted from 1970
_MOMENT_MS: Final = 1e11  # and these are milliseconds
_MINUTE: Final = 90.0  # a limit of a minute is whole again by then, and a clock that differs a little is forgiven


class Said(msgspec.Struct, frozen=True, gc=False):
    """One kind: `limit` units in a minute, 0 when that was not said; `remaining` of them now, -1 when it was not."""

    kind: Kind
    limit: int
    remaining: int


def read(headers: Sequence[tuple[bytes, bytes]], unix_ns: int) -> tuple[Said, ...]:
    """All that was said of limits by the minute, by kind. Header names are lower case.

    Longer windows show by their reset, and are left out: what remains of a day is no measure for the next minute.
    Where input and output are limited apart, the tokens of both are not looked at.
    """
    found: dict[Kind, dict[bytes, int]] = {}
    longer: set[Kind] = set()
    for name, value in headers:
        known = _NAMES.get(name)
        if known is None:
            continue
        kind, fact = known
        if fact == b"reset":
            seconds = span(value.strip(), unix_ns)
            if seconds is not None and seconds > _MINUTE:
                longer.add(kind)
        elif number := _COUNT.fullmatch(value.strip()):
            facts = found.setdefault(kind, {})
            # said twice: the smaller is the safer
            facts[fact] = min(int(number[1]), facts.get(fact, 10**15))
    if Kind.INPUT_TOKENS in found and Kind.OUTPUT_TOKENS in found:
        found.pop(Kind.TOKENS, None)
    return tuple(
        Said(kind, facts.get(b"limit", 0), facts.get(b"remaining", -1))
        for kind, facts in sorted(found.items())
        if kind not in longer and facts.get(b"limit") != 0
    )


def span(value: bytes, unix_ns: int) -> float | None:
    """Seconds until a reset: `1s`, `6m0s`, `20ms`, `7.5` (seconds), a date (RFC 3339), a moment since 1970; or None."""
    if _NUMBER.fullmatch(value):
        seconds = float(value)
        if seconds >= _MOMENT_MS:
            seconds /= 1000
        return seconds if seconds < _MOMENT else max(0.0, seconds - unix_ns / SECOND_NS)
    parts = _SPAN.fullmatch(value)
    if parts is not None and value:
        return sum(float(part) * unit for part, unit in zip(parts.groups(), _UNITS, strict=True) if part)
    try:
        moment = datetime.fromisoformat(value.decode("ascii"))
        if moment.tzinfo is None:
            return None
        return max(0.0, moment.timestamp() - unix_ns / SECOND_NS)
    except (ValueError, OverflowError):
        return None
