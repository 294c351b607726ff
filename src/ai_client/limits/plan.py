"""What a fleet will see of a limit, reckoned from the rules by which it is kept (docs/why/quota.md)."""

from __future__ import annotations

from typing import Final

import msgspec

_PACE: Final = 5.0  # questions a second of a busy member
_SPREAD: Final = 10_000.0  # questions a second of all busy members, at most


class Question(msgspec.Struct, frozen=True):
    """`rpm` and `tpm` are the limit's (0: none), `demand` all nodes' calls a minute, `tokens` those of a usual call."""

    rpm: int
    tpm: int
    nodes: int
    demand: float
    tokens: int
    burst_seconds: float = 1.0
    lease_seconds: float = 2.0


class Plan(msgspec.Struct, frozen=True):
    """What comes of it. Rates are calls a minute; `scarce` is what runs out first, empty when nothing does.

    `backlog` grows by so many calls each minute, and waits or is refused. `most_in_a_minute` is the bound, in calls.
    """

    scarce: str
    limit: float
    answered: float
    used: float
    backlog: float
    per_node: float
    seconds_between: float
    alone_per_node: float
    most_in_a_minute: float
    most_over: float
    store_questions: float


def plan(asked: Question) -> Plan:
    """Reckon."""
    by_tokens = asked.tpm / asked.tokens if asked.tpm else float("inf")
    by_requests = float(asked.rpm) if asked.rpm else float("inf")
    limit = min(by_requests, by_tokens)
    answered = min(asked.demand, limit)
    share = limit / asked.nodes
    over = (60.0 + asked.burst_seconds + asked.lease_seconds) / 60.0
    each = answered / asked.nodes / 60
    # a busy node renews at its pace; one with a call now and then asks for each, and says each second that it is there
    pace = min(_PACE, _SPREAD / asked.nodes)
    return Plan(
        scarce="" if asked.demand <= limit else "requests" if by_requests <= by_tokens else "tokens",
        limit=limit,
        answered=answered,
        used=answered / limit,
        backlog=asked.demand - answered,
        per_node=answered / asked.nodes,
        seconds_between=60 * asked.nodes / answered,
        alone_per_node=share,
        most_in_a_minute=limit * over,
        most_over=over - 1,
        store_questions=asked.nodes * min(pace, max(1.0, each)),
    )
