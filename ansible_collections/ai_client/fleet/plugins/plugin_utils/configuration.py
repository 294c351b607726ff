"""The client's configuration, as text. There is no secret in it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

PRICED = ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2")
"""The client's own list of models, when `ai_models` does not say another."""


class VariableError(Exception):
    """A variable cannot be used; the text says which and why."""


def costs(value: Any, rest: str = "") -> dict[str, str]:
    """Prices by model. A mapping, or the text of one: on a command line, `KEY=VALUE` may have been cut at its blanks,
    and what came after is in `rest`.
    """
    if isinstance(value, str):
        try:
            value = ast.literal_eval(f"{value} {rest}".strip() or "{}")
        except (ValueError, SyntaxError):
            raise VariableError(f"ai_model_costs is no mapping of models to prices: {value!r}") from None
    if not isinstance(value, Mapping):
        raise VariableError(f"ai_model_costs is no mapping of models to prices: {value!r}")
    return {str(model): str(price) for model, price in value.items()}


def has_password(url: str) -> bool:
    """Whether a URL holds a user or password, which must not stand in the configuration."""
    return "@" in urlsplit(url).netloc


def sections_of(
    values: Mapping[str, Any], prices: Mapping[str, str], certificates: str, store_ca: str = ""
) -> dict[str, dict[str, str]]:
    """The configuration by section and key."""
    sections = _sections(values, prices, certificates)
    if values["ai_redis_url"]:
        sections["fleet"] = _shared(values["ai_redis_url"], store_ca)
    for section, keys in values["ai_config"].items():
        if not isinstance(keys, (Mapping, type(None))):
            raise VariableError(f"ai_config: [{section}] is no mapping of keys to values")
        own = sections.setdefault(str(section), {})  # without keys it says something, too: [key NAME]
        for key, value in (keys or {}).items():
            text = _text(value)
            if key == "api_key" or has_password(text):
                raise VariableError(f"ai_config: [{section}] {key} is a secret; give it in a variable made for it")
            if "\n" in text or "\n" in f"{section}{key}":
                raise VariableError(f"ai_config: [{section}] {key} has more than one line")
            own[str(key)] = text
    return sections


def written(sections: Mapping[str, Mapping[str, str]]) -> str:
    """The same as a file."""
    lines = ["# Written by the collection ai_client.fleet; what is changed here is changed back."]
    for section, keys in sections.items():
        lines += ["", f"[{section}]", *(f"{key} = {value}".rstrip() for key, value in keys.items())]
    return "\n".join(lines) + "\n"


def _sections(values: Mapping[str, Any], prices: Mapping[str, str], certificates: str) -> dict[str, dict[str, str]]:
    fallback = values["ai_fallback_model"]
    fallbacks = [fallback] if isinstance(fallback, str) else list(fallback)
    fallbacks = [each for each in fallbacks if each]
    named = [values["ai_model_default"], *fallbacks, *prices]
    models = values["ai_models"] or list(dict.fromkeys([*PRICED, *named]))
    proxy = values["ai_proxy_url"]
    api = {
        "provider": values["ai_provider"],
        "base_url": values["ai_base_url"],
        "timeout": values["ai_timeout"],
        "max_retries": values["ai_max_retries"],
        "connection_pool_size": values["ai_pool_size"],
        "models": models,
    }
    performance = {
        "connection_timeout": values["ai_conn_timeout"],
        "read_timeout": values["ai_read_timeout"],
        "max_concurrent_requests": values["ai_concurrency_limit"],
        "request_timeout_buffer": values["ai_timeout_buffer"],
    }
    caching = {
        "enabled": values["ai_caching_enabled"],
        "cache_dir": values["ai_cache_dir"],
        "ttl_seconds": values["ai_cache_ttl"],
        "max_cache_size_gb": values["ai_cache_size"],
    }
    monitoring = {
        "enable_metrics": values["ai_enable_metrics"],
        "metrics_port": values["ai_metrics_port"],
        "metrics_host": values["ai_metrics_host"],
        "metrics_public": values["ai_metrics_public"],
        "export_prometheus": values["ai_enable_metrics"],
    }
    told: dict[str, dict[str, Any]] = {
        "api": api,
        "models": {"default": values["ai_model_default"], "fallback": fallbacks},
        "model_costs": dict(prices),
        "performance": performance,
        "limits": {"requests_per_minute": values["ai_rpm"], "tokens_per_minute": values["ai_tpm"]},
        "caching": caching,
        "logging": {"level": values["ai_log_level"], "log_dir": values["ai_log_dir"]},
        "security": {
            "verify_ssl": values["ai_verify_ssl"],
            "proxy_url": "" if has_password(proxy) else proxy,
            "cert_path": certificates,
        },
        "monitoring": monitoring,
        "daemon": {"listen": values["ai_listen"]},
        "costs": {"ledger": "/var/lib/ai-client/ledger.db"},
    }
    if values["ai_batch_mode"]:
        told["batch"] = {"concurrency": values["ai_concurrency_limit"]}
    if not prices:
        del told["model_costs"]
    return {section: {key: _text(value) for key, value in keys.items()} for section, keys in told.items()}


def _shared(url: str, store_ca: str) -> dict[str, str]:
    """Where limits are shared. A URL with a password comes from the service's environment instead, and so does the
    backend: whoever reads this file without that environment (the command line does) would miss the URL.
    """
    return {
        **({} if has_password(url) else {"backend": "redis", "redis_url": url}),
        **({"redis_ca": store_ca} if store_ca else {}),
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(each) for each in value)
    return str(value)
