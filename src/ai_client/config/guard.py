"""How targets that fail or slow down are spared, and this daemon: [guard], [adaptive] and [admission]."""

from __future__ import annotations

from ai_client.config.keys import Keyed, key
from ai_client.config.values import boolean, integer, number


class Guard(Keyed, frozen=True, kw_only=True):
    """How targets that fail are spared: their circuits, and how much of their traffic may be retried."""

    enabled: bool = key(boolean(), True, "Whether circuits and retry budgets are kept at all.")
    window_seconds: float = key(number(1, 3600), 30.0, "The time over which calls are judged.", unit="seconds")
    min_calls: int = key(integer(1, 10**6), 20, "The fewest calls in that time on which a circuit may open.")
    failure_percent: float = key(number(1, 100), 50.0, "The share of failed calls at which it opens.", unit="%")
    slow_seconds: float = key(
        number(0, 3600),
        0.0,
        "From when on an answer, or a stream's first content, counts as slow; 0: never.",
        unit="seconds",
    )
    slow_percent: float = key(number(1, 100), 80.0, "The share of slow calls at which it opens.", unit="%")
    open_seconds: float = key(
        number(0.1, 3600), 5.0, "How long it stays open; twice as long after each probe that fails.", unit="seconds"
    )
    max_open_seconds: float = key(number(0.1, 86_400), 60.0, "The longest that it stays open at once.", unit="seconds")
    probes: int = key(integer(1, 1000), 2, "Good answers, one call at a time, after which it closes.")
    retry_percent: float = key(
        number(0, 100), 20.0, "Retries at a target, of the calls that came to it in the last 10 seconds.", unit="%"
    )
    retry_floor: int = key(integer(0, 10**6), 10, "Retries that it gets besides in that time, for light traffic.")


class Adaptive(Keyed, frozen=True, kw_only=True):
    """How many calls are under way at once at a target, found out from its latency: for all nodes that share limits."""

    enabled: bool = key(boolean(), False, "Whether each target's concurrency is adapted at all.")
    min_concurrent: int = key(integer(1, 10**6), 2, "The fewest at once, however slow the target is.")
    max_concurrent: int = key(
        integer(1, 10**6), 200, "The most at once; `max_concurrent_requests` of its provider bounds them too."
    )
    initial_concurrent: int = key(integer(1, 10**6), 10, "How many at once to begin with.")
    tolerance: float = key(
        number(1, 10), 1.5, "How many times its usual latency a target may take before there are fewer at once."
    )
    backoff_percent: float = key(number(10, 95), 50.0, "What is left of them after a 429 or a time-out.", unit="%")


class Admission(Keyed, frozen=True, kw_only=True):
    """How much work is taken on at once. What is beyond is refused with 503, the low priorities first."""

    max_in_flight: int = key(integer(0, 10**7), 0, "Calls under way at once, those that wait included; 0: no bound.")
    max_memory_mb: int = key(integer(0, 10**7), 0, "The bodies of their requests together; 0: no bound.", unit="MiB")
    max_rss_mb: int = key(
        integer(0, 10**7), 0, "The whole process's resident memory, looked at every second; 0: no bound.", unit="MiB"
    )
    low_priority_percent: float = key(
        number(1, 100),
        50.0,
        "How much of these bounds priority 1 may fill; it rises evenly to all of it for priority 10.",
        unit="%",
    )
