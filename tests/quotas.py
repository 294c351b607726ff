"""Limits and needs to hand to what is under test."""

from __future__ import annotations

from typing import Any

from ai_client.limits.base import MINUTE_NS, Caller, Kind, Need, Rate, Settings, rate
from ai_client.limits.gate import Gate


def limits(requests: int = 0, tokens: int = 0, places: int = 0, burst_seconds: float = 1.0, **rest: Any) -> Settings:
    """Requests and tokens a minute, and how many at once; 0 is no limit."""
    amounts = ((Kind.REQUESTS, requests), (Kind.TOKENS, tokens))
    rates: tuple[Rate, ...] = tuple(rate(kind, n, MINUTE_NS, burst_seconds) for kind, n in amounts if n)
    return Settings(rates, places, **rest)


def need(tokens: int, requests: int = 1) -> Need:
    """One request of so many tokens."""
    return (requests, tokens, 0, tokens, 0)


def who(priority: int = 5, app: str = "app", weight: int = 1) -> Caller:
    """A caller."""
    return Caller(priority, app, weight)


def left(gate: Gate) -> tuple[int | None, int | None]:
    """Requests and tokens that may be spent now; None where there is no limit."""
    found = gate.available()
    return found.get("requests"), found.get("tokens")
