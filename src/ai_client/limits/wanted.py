"""From the configuration to the settings of every limiter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ai_client.config.rates import WINDOWS, Rates
from ai_client.config.snapshot import Config, Limit
from ai_client.limits.base import MINUTE_NS, SECOND_NS, Kind, Rate, Settings, rate
from ai_client.limits.gradient import Pace

_LONG: Final = ("hour", "day")  # windows of which a tenth may be spent at once, unless something else is said


def providers(config: Config) -> Mapping[str, Settings]:
    """What each key of each provider is limited to."""
    return {
        name: _settings(
            config,
            _per_minute(config, each.requests_per_minute, each.tokens_per_minute),
            each.max_concurrent_requests,
        )
        for name, each in config.endpoints.items()
    }


def apps(config: Config) -> Mapping[str, Settings]:
    """What the apps are limited to that have limits of their own."""
    return {
        name: _settings(config, _per_minute(config, app.requests_per_minute, app.tokens_per_minute), 0)
        for name, app in config.apps.items()
        if app.requests_per_minute or app.tokens_per_minute
    }


def quota(config: Config, limit: Limit) -> Settings:
    """What each value of a section [limit NAME] is limited to."""
    counted: tuple[tuple[Kind, Rates], ...] = (
        (Kind.REQUESTS, limit.requests),
        (Kind.TOKENS, limit.tokens),
        (Kind.INPUT_TOKENS, limit.input_tokens),
        (Kind.OUTPUT_TOKENS, limit.output_tokens),
        (Kind.NANO_DOLLARS, limit.dollars),
    )
    rates = tuple(
        rate(kind, amount, WINDOWS[window] * SECOND_NS, _burst_seconds(config, limit, window))
        for kind, amounts in counted
        for amount, window in amounts
    )
    settings = _settings(config, rates, limit.max_concurrent)
    return msgspec.structs.replace(settings, fleet_concurrent=limit.max_concurrent_fleet)


def adaptive(config: Config) -> tuple[Pace | None, Settings]:
    """The bounds of every target's concurrency, None where it is not adapted; and how calls wait for a place."""
    each = config.adaptive
    if not each.enabled:
        return None, _settings(config, (), 0)
    pace = Pace(
        each.min_concurrent, each.max_concurrent, each.initial_concurrent, each.tolerance, each.backoff_percent / 100
    )
    return pace, _settings(config, (), 0)


def _burst_seconds(config: Config, limit: Limit, window: str) -> float:
    if limit.burst_seconds is not None:
        return limit.burst_seconds
    return WINDOWS[window] / 10 if window in _LONG else config.limits.burst_seconds


def _per_minute(config: Config, requests: int, tokens: int) -> tuple[Rate, ...]:
    burst = config.limits.burst_seconds
    amounts = ((Kind.REQUESTS, requests), (Kind.TOKENS, tokens))
    return tuple(rate(kind, amount, MINUTE_NS, burst) for kind, amount in amounts if amount)


def _settings(config: Config, rates: tuple[Rate, ...], places: int) -> Settings:
    limits = config.limits
    return Settings(rates, places, limits.max_queue, limits.max_wait, limits.ageing_seconds)
