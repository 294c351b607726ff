"""When a server asks us to come back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

_SECONDS: Final = re.compile(rb"([+-]?)(\d{1,12}(?:\.\d{0,9})?)", re.ASCII)
_NS: Final = 1_000_000_000


def parse_retry_after(headers: Sequence[tuple[bytes, bytes]], unix_ns: int) -> float | None:
    """Seconds that the server asks us to wait, 0 or more; None when it does not say, or not understandably.

    `retry-after-ms` (milliseconds, as OpenAI sends it) goes before `retry-after`, which holds seconds, decimals
    allowed, or an HTTP date (RFC 9110, sections 10.2.3 and 5.6.7), which is compared with `unix_ns`. A moment that has
    passed, or a negative number, is 0. The answer is not bounded: how long to wait at all is the caller's to say.
    Header names are lower case.
    """
    for name, unit in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        for key, value in headers:
            if key == name and (seconds := _seconds(value.strip(), unit, unix_ns)) is not None:
                return seconds
    return None


def _seconds(value: bytes, unit: float, unix_ns: int) -> float | None:
    number = _SECONDS.fullmatch(value)
    if number:
        return 0.0 if number[1] == b"-" else float(number[2]) / unit
    if unit != 1.0:
        return None
    try:
        moment = parsedate_to_datetime(value.decode("ascii"))
        if moment.tzinfo is None:  # the asctime form names no zone, and HTTP knows only one
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - unix_ns / _NS)
    except (ValueError, OverflowError):  # no date; a year beyond any calendar
        return None
