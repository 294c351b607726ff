"""What is limited, and with whom limits are shared: the sections [limits], [fleet] and [limit NAME]."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ai_client.config.keys import Keyed, key
from ai_client.config.rates import Rates, rates
from ai_client.config.values import (
    boolean,
    choice,
    integer,
    name,
    names,
    number,
    optional,
    optional_name,
    path,
    redis_url,
)

_PAUSE: Final = number(0, 86_400)
QUOTA: Final = integer(0, 10**12)
_NAME: Final = name()


class Limits(Keyed, frozen=True, kw_only=True):
    """What a provider allows a key, and how long calls wait for it."""

    requests_per_minute: int = key(
        QUOTA,
        500,
        "Requests a minute, for each provider; 0 for no limit.",
        also=(("performance", "rate_limit"), ("monitoring", "rate_limit")),
    )
    tokens_per_minute: int = key(QUOTA, 100_000, "Tokens a minute, in and out, for each provider; 0 for no limit.")
    burst_seconds: float = key(
        number(0.001, 60),
        1.0,
        "How much of a minute's quota may be spent at once: as much as accrues in this time.",
        unit="seconds",
    )
    heed_providers: bool = key(
        boolean(),
        True,
        "Whether a limit that a provider tells in its answers' headers (`x-ratelimit-*`) counts, where it is smaller"
        " than the configured one, or none is configured.",
    )
    max_queue: int = key(integer(0, 10**7), 10_000, "Calls that may wait at once; the rest are refused.")
    max_wait: float = key(_PAUSE, 60.0, "How long a call may wait for quota before it is refused.", unit="seconds")
    ageing_seconds: float = key(
        _PAUSE,
        6.0,
        "How much longer waiting makes up for one level of priority; 0: priority does not count.",
        unit="seconds",
    )


class Fleet(Keyed, frozen=True, kw_only=True):
    """Sharing limits with other nodes."""

    backend: str = key(
        choice("memory", "redis"),
        "memory",
        "memory: this node alone; redis: all that share a Redis (6.2 or newer) or Valkey server.",
    )
    redis_url: str = key(redis_url(), "", "The Redis or Valkey server that nodes share.", secret=True)
    redis_ca: Path | None = key(optional(path()), None, "A PEM file of the authorities to trust for `rediss://`.")
    namespace: str = key(_NAME, "ai-client", "The beginning of every name on that server.")
    node_name: str = key(optional_name(), "", "This node's name among the others; nothing: the host's name.")
    weight: int = key(integer(1, 1000), 1, "This node's share, beside the other nodes' weights, of what is short.")
    lease_seconds: float = key(
        number(0.5, 60), 2.0, "How long quota that was lent to a node may be spent there.", unit="seconds"
    )
    share_seconds: float = key(
        number(10, 86_400),
        3600.0,
        "How long a node that cannot reach the server goes on with its share of each limit, which is kept for it.",
        unit="seconds",
    )
    fail_closed: bool = key(
        boolean(), False, "Whether a node that cannot reach the server spends nothing once its leases have ended."
    )


class Limit(Keyed, frozen=True, kw_only=True):
    """A further limit, within those of the providers and apps: for a model, an app, a tag, a user or a provider.

    Every value that it names has its own.
    """

    name: str
    scope: str = key(
        choice("user", "tag", "app", "model", "provider"),
        "app",
        "What is limited; user: the `user` of a request's body; tag: its cost-allocation label.",
    )
    values: tuple[str, ...] = key(
        names(), ("*",), "The names that it is for, each with quota of its own; `*`: every name that comes along."
    )
    requests: Rates = key(rates(), (), "Requests in a window of time.")
    tokens: Rates = key(rates(), (), "Tokens, in and out.")
    input_tokens: Rates = key(rates(), (), "Tokens of prompts.")
    output_tokens: Rates = key(rates(), (), "Tokens of answers.")
    dollars: Rates = key(rates(money=True), (), "What calls cost, in USD.")
    max_concurrent: int = key(integer(0, 10**6), 0, "Requests under way at once on this node; 0 for no limit.")
    max_concurrent_fleet: int = key(
        integer(0, 10**6), 0, "Requests under way at once on all nodes of the fleet together; 0 for no limit."
    )
    burst_seconds: float | None = key(
        optional(number(0.001, 86_400)),
        None,
        "How much may be spent at once: as much as accrues in this time. Nothing: as [limits] burst_seconds for seconds"
        " and minutes, a tenth of the window for hours and days.",
        unit="seconds",
    )
