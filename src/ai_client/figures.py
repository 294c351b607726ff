"""What the metrics read of the service that is current, at every scrape."""

from __future__ import annotations

from collections.abc import Callable

from ai_client.cache.base import CacheBackend
from ai_client.cost.budget import Account, Budgets
from ai_client.cost.prices import NANO_PER_USD
from ai_client.routing.health import Health, TargetHealth
from ai_client.routing.hedging import Hedging, TargetHedges
from ai_client.service import Service
from ai_client.telemetry import catalogue
from ai_client.telemetry.metrics import MetricsSink


def watch_service(metrics: MetricsSink, service: Service, cache: CacheBackend | None) -> None:
    """Its calls, its connections, its cache."""
    unverified = any(not provider.verify_ssl for provider in service.config.endpoints.values())
    metrics.watch(catalogue.IN_FLIGHT, lambda: float(service.in_flight))
    metrics.watch(catalogue.TLS_OFF, lambda: float(unverified))
    metrics.watch(
        catalogue.POOL,
        lambda: {(name,): float(provider.open_connections) for name, provider in service.providers.items()},
    )
    metrics.watch(catalogue.HELD, lambda: float(service.held_bytes))
    admission = service.admission
    if admission is not None:
        metrics.watch(catalogue.SHED, lambda: {(str(each),): float(count) for each, count in admission.shed.items()})
    if cache is not None:
        metrics.watch(catalogue.CACHE_ENTRIES, lambda: float(cache.stats().entries))
        metrics.watch(catalogue.CACHE_BYTES, lambda: float(cache.stats().bytes))


def watch_budgets(metrics: MetricsSink, budgets: Budgets) -> None:
    """What may be spent, what is, and who was refused."""

    def of_each(figure: Callable[[Account], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(name,): figure(account) for name, account in budgets.accounts.items()}

    metrics.watch(catalogue.BUDGET, of_each(lambda account: account.limit / NANO_PER_USD))
    metrics.watch(catalogue.BUDGET_SPENT, of_each(lambda account: account.spent / NANO_PER_USD))
    metrics.watch(catalogue.BUDGET_REFUSED, of_each(lambda account: account.refused))


def watch_health(metrics: MetricsSink, health: Health) -> None:
    """Each target's circuit and retry budget."""

    def of_each(figure: Callable[[TargetHealth], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(name,): figure(target) for name, target in health.targets.items()}

    metrics.watch(catalogue.CIRCUIT, of_each(lambda target: target.breaker.state.value))
    metrics.watch(catalogue.CIRCUIT_OPENED, of_each(lambda target: target.breaker.opened))
    metrics.watch(catalogue.CIRCUIT_REFUSED, of_each(lambda target: target.breaker.refused))
    metrics.watch(catalogue.RETRIES_DENIED, of_each(lambda target: target.budget.denied))


def watch_hedging(metrics: MetricsSink, hedging: Hedging) -> None:
    """The second requests of calls that each target kept waiting."""

    def of_each(figure: Callable[[TargetHedges], float]) -> Callable[[], dict[tuple[str, ...], float]]:
        return lambda: {(name,): figure(target) for name, target in list(hedging.targets.items())}

    metrics.watch(catalogue.HEDGES, of_each(lambda target: target.launched))
    metrics.watch(catalogue.HEDGES_WON, of_each(lambda target: target.won))
    metrics.watch(
        catalogue.HEDGES_DENIED,
        lambda: {
            (name, reason.value): float(count)
            for name, target in list(hedging.targets.items())
            for reason, count in list(target.denied.items())
        },
    )
    metrics.watch(
        catalogue.HEDGE_DELAY,
        lambda: {
            (name, "stream" if stream else "whole"): hedging.delay_ns(target, stream=stream) / 1e9
            for name, target in list(hedging.targets.items())
            for stream in (False, True)
        },
    )
