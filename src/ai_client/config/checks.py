"""What only the whole configuration shows: names that refer to each other, files that must exist, doubtful choices."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ai_client.config.assemble import Values
from ai_client.config.exposure import check_tls, doubt_exposure, is_loopback
from ai_client.config.layers import HOLYSHEEP, KEY_VARIABLE, Findings
from ai_client.config.pool_checks import check_pools
from ai_client.config.schema import Provider, renamed
from ai_client.config.secrets import CREDENTIAL
from ai_client.config.sections import suggestion
from ai_client.config.snapshot import Config
from ai_client.config.values import printed

_LARGEST_BUNDLE: Final = 16 * 1024**2
_AUTO: Final = ("simple", "moderate", "complex")


def check(config: Config, values: Values, findings: Findings) -> None:
    """Note every mistake and doubt that concerns more than one key."""
    _check_models(config, values, findings)
    _check_times(config, values, findings)
    _check_certificates(values, findings)
    _check_fleet(config, values, findings)
    _check_apps(config, values, findings)
    _check_quotas(config, values, findings)
    check_pools(config, values, findings)
    check_tls(values, findings)
    _doubt_providers(config.endpoints.values(), values, findings)
    doubt_exposure(config, findings)


def _check_models(config: Config, values: Values, findings: Findings) -> None:
    """Every model that is named must be served by some provider."""
    served = _served(config, values)
    if served is None or "*" in served:
        return
    callable_names = {*served, *config.routing.aliases, "auto"}

    def need(section: str, key: str, models: Iterable[str], known: set[str]) -> None:
        given = values.get(section, key)
        for model in models:
            if model in known:
                continue
            hint = f"no provider serves it{suggestion(model, known)}"
            if given is None:
                findings.warn(f"[{section}] {key} = {model} (default): {hint}")
            else:
                findings.refuse_value(given.origin, section, key, printed(model), hint)

    need("routing", "aliases", config.routing.aliases.values(), served)
    larger = config.routing.larger
    need("routing", "larger", [*larger, *larger.values()], served | set(config.routing.aliases))
    need("hedge", "models", [each for each in config.hedge.models if each != "*"], served)
    need("models", "default", [config.models.default], callable_names)
    need("models", "fallback", config.models.fallback, served | set(config.routing.aliases))
    need("streams", "whole_models", config.streams.whole_models, served)
    need("streams", "continue_models", config.streams.continue_models, served)
    for complexity in _AUTO:
        if values.get("routing", complexity) is not None:
            need("routing", complexity, [getattr(config.routing, complexity)], served)
    for app in config.apps.values():
        need(f"app {app.name}", "models", app.models, callable_names)
    _doubt_models(config, values, served, findings)


def _doubt_models(config: Config, values: Values, served: set[str], findings: Findings) -> None:
    """Models that nobody serves, and that do no harm as long as nobody asks for them."""
    defaults = {each: getattr(config.routing, each) for each in _AUTO if values.get("routing", each) is None}
    missing = {each: model for each, model in defaults.items() if model not in served}
    if missing:
        models = ", ".join(missing.values())
        findings.warn(
            f"[routing] {', '.join(missing)}: no provider serves their defaults, {models}: `auto` wants others"
        )
    for model in config.model_costs:
        if model not in served:
            findings.warn(f"[model_costs] {printed(model)}: no provider serves it{suggestion(model, served)}")


def _served(config: Config, values: Values) -> set[str] | None:
    """What all providers serve, `*` included; None where it is not known, whose own mistake is then enough.

    It is known of a provider that is incomplete otherwise, too.
    """
    stated = [values.get(section, "models") for section, _ in values.named("provider")]
    if ("api", "models") in values.failed or None in stated:
        return None
    lists = [config.api.models, *(given.value for given in stated if given is not None)]
    return {model for models in lists for model in renamed(models)[0]}


def _check_times(config: Config, values: Values, findings: Findings) -> None:
    """Durations, and numbers, that must be larger than others."""
    routing, performance, adaptive = config.routing, config.performance, config.adaptive
    for section, key, value, other, least in (
        ("routing", "retry_max_delay", routing.retry_max_delay, "retry_base_delay", routing.retry_base_delay),
        (
            "performance",
            "total_timeout",
            performance.total_timeout,
            "request_timeout_buffer",
            performance.request_timeout_buffer,
        ),
        ("adaptive", "initial_concurrent", adaptive.initial_concurrent, "min_concurrent", adaptive.min_concurrent),
        ("adaptive", "max_concurrent", adaptive.max_concurrent, "initial_concurrent", adaptive.initial_concurrent),
    ):
        given = values.get(section, key) or values.get(section, other)
        if value < least and given is not None:
            findings.refuse_value(given.origin, section, key, f"{value:g}", f"expected at least {other}, {least:g}")


def _check_certificates(values: Values, findings: Findings) -> None:
    """Certificate files must be there, and be certificates."""
    for section in values.sections:
        given = values.get(section, "cert_path")
        if given is not None and given.value is not None:
            fault = _bundle_fault(given.value)
            if fault is not None:
                findings.refuse_value(given.origin, section, "cert_path", printed(str(given.value)), fault)


def _check_fleet(config: Config, values: Values, findings: Findings) -> None:
    """Sharing needs a server."""
    given = values.get("fleet", "backend")
    lacks_server = not config.fleet.redis_url and ("fleet", "redis_url") not in values.failed
    if given is not None and config.fleet.backend == "redis" and lacks_server:
        findings.refuse_value(given.origin, "fleet", "backend", "redis", "redis_url is missing")


def _check_apps(config: Config, values: Values, findings: Findings) -> None:
    """An app must be recognisable, and nobody may be two apps."""
    tokens: dict[str, str] = {}
    users: dict[int, str] = {}
    for app in config.apps.values():
        section = f"app {app.name}"
        header = values.headers[section]
        if any((section, key) in values.failed for key in ("token_sha256", "uid")):
            continue
        if not app.token_sha256 and app.uid is None:
            findings.refuse(header, f"[{section}] needs token_sha256 or uid: nothing tells who this app is")
        if app.token_sha256 and (other := tokens.setdefault(app.token_sha256, app.name)) != app.name:
            findings.refuse(header, f"[{section}] token_sha256 is that of [app {other}] already")
        if app.uid is not None and (other := users.setdefault(app.uid, app.name)) != app.name:
            findings.refuse(header, f"[{section}] uid {app.uid} is that of [app {other}] already")


def _check_quotas(config: Config, values: Values, findings: Findings) -> None:
    """A limit must limit something, and be for somebody who is there."""
    known = {"app": {*config.apps, "local"}, "provider": set(config.providers)}
    for quota in config.quotas.values():
        section = f"limit {quota.name}"
        counted = (quota.requests, quota.tokens, quota.input_tokens, quota.output_tokens, quota.dollars)
        limited = any(counted) or quota.max_concurrent or quota.max_concurrent_fleet
        if not limited and not any(key[0] == section for key in values.failed):
            findings.refuse(values.headers[section], f"[{section}] limits nothing: give it requests, tokens or dollars")
        given = values.get(section, "values")
        names = known.get(quota.scope)
        for name in quota.values if given is not None and names is not None else ():
            if name != "*" and name not in (names or ()):
                hint = f"there is no such {quota.scope}{suggestion(name, names or ())}"
                findings.warn(f"[{section}] values = {printed(name)}: {hint}")


def _doubt_providers(providers: Iterable[Provider], values: Values, findings: Findings) -> None:
    """Providers that will work, but not as safely as they could, or only for a simulator."""
    for position, provider in enumerate(providers):
        url = urlsplit(provider.base_url)
        local = is_loopback(url.hostname or "")
        if not provider.verify_ssl and url.scheme == "https":
            findings.warn(
                f"provider {provider.name}: verify_ssl = false: ANYBODY ON THE WAY CAN READ AND CHANGE WHAT IS SENT,"
                " the API key included; for a private certificate authority set cert_path instead"
            )
        if provider.api_key is not None and url.scheme == "http" and not local:
            findings.warn(f"provider {provider.name}: the API key travels unencrypted to {url.hostname}; use https://")
        untold = ("api", "api_key") not in values.failed
        if provider.api_key is None and position == 0 and not local and untold:
            findings.warn(f"provider {provider.name}: no API key: {how_to_give_a_key(provider.name)}")


def how_to_give_a_key(provider: str) -> str:
    """Where the key of the first provider, so called, may be put: the words for whoever has given none."""
    variable = KEY_VARIABLE if provider == HOLYSHEEP else "AI_CLIENT_API__API_KEY"
    return f"set the variable {variable}, or [api] api_key_file, or the systemd credential {CREDENTIAL}"


def _bundle_fault(path: Path) -> str | None:
    """Why this file cannot serve as a bundle of certificate authorities, None when it can."""
    try:
        if not path.is_file():
            return "expected a file; there is none"
        with path.open("rb") as file:
            content = file.read(_LARGEST_BUNDLE)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if b"-----BEGIN " in content else "expected certificates in PEM form; there are none in it"
