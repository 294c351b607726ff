"""A request before routing, and after it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ai_client.model.record import Record
from ai_client.model.request import Endpoint, Fields

Headers = list[tuple[bytes, bytes]]
"""Header fields in order; names are lower case."""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request before routing.

    `path` is the path below the provider's base URL, query included. `body` is as the caller sent it.
    `headers` are the caller's own that the provider may see (content type, idempotency key, beta flags).
    `deadline_ns` is of the monotonic clock. `priority` runs from 1 (last) to 10 (first); 5 is usual.
    `cache` is False when the caller asked for a fresh answer. `whole` says whether a streamed answer is to be held
    until it is whole; None: as the model has it. `keep` has a stream's text kept, in case that another has to take it
    up; `prefill` is the text that this call takes up.
    """

    endpoint: Endpoint
    method: str
    path: str
    body: bytes
    fields: Fields
    headers: Headers
    deadline_ns: int
    priority: int
    app: str
    record: Record
    cache: bool = True
    whole: bool | None = None
    keep: bool = False
    prefill: str = ""

    @property
    def repeatable(self) -> bool:
        """May it be sent twice? Asking a model may; what a passed-through POST or DELETE does, nobody here knows."""
        return self.endpoint is not Endpoint.OTHER or self.method in ("GET", "HEAD")


class Target(msgspec.Struct, frozen=True, gc=False):
    """A provider, a model and a key: one place where a call can be answered.

    `model` is the name callers know, `upstream_model` the name the provider knows. `member` is the name of one of the
    provider's keys, where it has several and one is chosen. `key` is what is limited, `provider` or `provider.member`;
    `name` is `key/model`, as headers, logs and metrics write it. Both are made here.
    """

    provider: str
    model: str
    upstream_model: str
    member: str = ""
    key: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        key = f"{self.provider}.{self.member}" if self.member else self.provider
        msgspec.structs.force_setattr(self, "key", key)
        msgspec.structs.force_setattr(self, "name", f"{key}/{self.model}" if self.model else key)


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A call, the target chosen for it, and which try at that target this is, from 1.

    `chain` are the targets that may still answer, this one first, as far as anybody asks. A `hedge` is a second request
    beside one that is under way: it waits for nothing.
    """

    call: Call
    target: Target
    number: int = 1
    chain: Sequence[Target] = ()
    hedge: bool = False
