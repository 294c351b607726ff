"""Every metric by name: what is counted here, and what others let us read.

docs/reference/metrics.md is checked against it.

Naming: https://prometheus.io/docs/practices/naming/ (a prefix, base units, `_total` for what only grows).
"""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.Enum):
    """How a metric behaves, in Prometheus's own words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Family(msgspec.Struct, frozen=True, gc=False):
    """One metric: its name, unit included, its labels in order, and its help text."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


BOUNDS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of every histogram's buckets: from a cached answer to a long reasoning run."""


def _counter(name: str, labels: str, text: str) -> Family:
    return Family(f"ai_client_{name}", Kind.COUNTER, tuple(labels.split()), text)


def _gauge(name: str, labels: str, text: str) -> Family:
    return Family(f"ai_client_{name}", Kind.GAUGE, tuple(labels.split()), text)


def _histogram(name: str, labels: str, text: str) -> Family:
    return Family(f"ai_client_{name}", Kind.HISTOGRAM, tuple(labels.split()), text)


# Counted by MetricsSink.
REQUESTS = _counter("requests_total", "app model target endpoint status", "Calls finished.")
DURATION = _histogram("request_duration_seconds", "target endpoint status", "From a call's arrival to its end.")
FIRST_BYTE = _histogram("time_to_first_byte_seconds", "target endpoint", "From a call's arrival to its first content.")
QUEUE = _histogram("queue_seconds", "target", "Time a call waited for quota, summed over its attempts.")
ATTEMPTS = _counter(
    "attempts_total",
    "target",
    "Attempts that were answered, or failed before an answer began, at our own limits or circuit included.",
)
FAILURES = _counter("attempt_failures_total", "target code", "Those of them that failed, by the error's code.")
STREAMS = _counter("streams_total", "target", "Calls answered, or to be answered, as a stream.")
TOKENS = _counter("tokens_total", "app model kind", "Tokens billed; cached_input is a part of input.")
COST = _counter("cost_usd_total", "app model", "US dollars spent, over all attempts that were billed.")
LOST = _counter(
    "lost_cost_usd_total", "target why", "Those of them spent on attempts whose answer nobody got, by target."
)
ESTIMATED = _counter(
    "usage_estimated_total", "app model", "Attempts whose tokens are estimated, since the provider did not count."
)
CACHE = _counter("cache_total", "answer", "Answers of the cache: hit, miss, coalesced.")
RELOADS = _counter("config_reloads_total", "outcome", "Configurations loaded after the start: applied, refused.")
BUILD = _gauge("build_info", "version python", "Always 1; the labels say what runs.")

# Read from others, when somebody offers them: MetricsSink.watch().
IN_FLIGHT = _gauge("in_flight", "", "Calls under way.")
POOL = _gauge("pool_connections", "provider", "Open connections to a provider, idle ones included.")
WAITING = _gauge("queue_waiting", "limit priority", "Calls that wait for quota.")
EXPECTED = _gauge(
    "queue_expected_seconds", "limit priority", "How long one more would have to wait for those before it."
)
LIMITER = _gauge("limiter_level", "provider bucket", "Quota left now: requests, tokens.")
BUDGET = _gauge("budget_usd", "app", "What may be spent today; without an app, by all together.")
BUDGET_SPENT = _gauge("budget_spent_usd", "app", "What is spent of it.")
BUDGET_REFUSED = _counter("budget_refused_total", "app", "Calls refused because they would have exceeded it.")
FLEET_MODE = _gauge("fleet_mode", "mode", "How the fleet's limits are kept: 1 for joining, shared, alone or closed.")
FLEET_MEMBERS = _gauge("fleet_members", "", "Members that share limits, as their store last said.")
FLEET_TRIPS = _counter("fleet_round_trips_total", "", "Questions to the store that the fleet shares.")
FLEET_FAILURES = _counter("fleet_failures_total", "", "Those of them that were not answered.")
HELD = _gauge("held_bytes", "", "Bodies of the requests of calls under way.")
SHED = _counter("shed_total", "priority", "Calls that were not admitted, since there was too much work.")
CIRCUIT = _gauge("circuit_state", "target", "0 closed, 1 half open (one call at a time), 2 open (none).")
CIRCUIT_OPENED = _counter("circuit_opened_total", "target", "How often it opened, because calls failed or were slow.")
CIRCUIT_REFUSED = _counter("circuit_refused_total", "target", "Attempts that were not sent, since it was open.")
RETRIES_DENIED = _counter("retries_denied_total", "target", "Retries that the target's budget did not allow.")
CONCURRENCY = _gauge("concurrency_limit", "target", "Calls that may be under way at once, where that is adapted.")
CONCURRENT = _gauge("concurrency", "target", "Those of them that are.")
CONCURRENCY_CUTS = _counter("concurrency_cuts_total", "target", "How often a 429 or a time-out cut the limit.")
KEY_REFUSED = _gauge("key_refused", "key", "1 while a key of several, or a model for it, is left out: it was refused.")
HEDGES = _counter("hedges_total", "target", "Second requests sent, since this target took unusually long.")
HEDGES_WON = _counter("hedges_won_total", "target", "Those of them whose answer came first.")
HEDGES_DENIED = _counter("hedges_denied_total", "target reason", "Calls as slow that were not asked twice, and why.")
HEDGE_DELAY = _gauge("hedge_delay_seconds", "target kind", "From when on an answer, whole or stream, is late; or 0.")
CACHE_ENTRIES = _gauge("cache_entries", "", "Answers held by the cache.")
CACHE_BYTES = _gauge("cache_bytes", "", "Size of the answers held by the cache.")
TLS_OFF = _gauge("tls_verification_off", "", "1 while certificates are not checked.")
LINES_DROPPED = _counter("log_lines_dropped_total", "log", "Log lines lost: the disk refused them for too long.")
LOG_ERRORS = _counter("log_write_errors_total", "log", "Failed attempts to write to a log.")

MONEY = frozenset({COST, LOST})
"""Kept in nano-dollars, told in dollars."""
COUNTED = (
    REQUESTS,
    DURATION,
    FIRST_BYTE,
    QUEUE,
    ATTEMPTS,
    FAILURES,
    STREAMS,
    TOKENS,
    COST,
    LOST,
    ESTIMATED,
    CACHE,
    RELOADS,
    BUILD,
)
WATCHED = (
    IN_FLIGHT,
    POOL,
    WAITING,
    EXPECTED,
    LIMITER,
    BUDGET,
    BUDGET_SPENT,
    BUDGET_REFUSED,
    FLEET_MODE,
    FLEET_MEMBERS,
    FLEET_TRIPS,
    FLEET_FAILURES,
    HELD,
    SHED,
    CIRCUIT,
    CIRCUIT_OPENED,
    CIRCUIT_REFUSED,
    RETRIES_DENIED,
    CONCURRENCY,
    CONCURRENT,
    CONCURRENCY_CUTS,
    HEDGES,
    HEDGES_WON,
    HEDGES_DENIED,
    HEDGE_DELAY,
    KEY_REFUSED,
    CACHE_ENTRIES,
    CACHE_BYTES,
    TLS_OFF,
    LINES_DROPPED,
    LOG_ERRORS,
)
