"""What the telemetry hears. Frozen, so that a sink cannot disturb the call it watches."""

from __future__ import annotations

import msgspec


class AttemptFailed(msgspec.Struct, frozen=True, gc=False):
    """One attempt failed; `waits_ns` is how long the call will wait before its next one, -1 when there is none."""

    request_id: str
    target: str
    number: int
    code: str
    status: int
    message: str
    waits_ns: int
