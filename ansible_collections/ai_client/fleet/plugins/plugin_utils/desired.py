"""From a node's variables to what the node should be: configuration, units, and the document that the module reads."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.ai_client.fleet.plugins.plugin_utils.bundle import Release
from ansible_collections.ai_client.fleet.plugins.plugin_utils.units import (
    SERVICE,
    SOCKET,
    Place,
    service_unit,
    socket_unit,
    wrapper,
)

ROOT = "/opt/ai-client"
CREDENTIAL = "ai-client-api-key"
PRICED = ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2")
"""The client's own list of models, when `ai_models` does not say another."""

OTHER_NAMES: Mapping[str, str] = {
    "holy_sheep_api_key": "ai_api_key",
    "HOLYSHEEP_API_KEY": "ai_api_key",
    "holy_sheep_model": "ai_model_default",
    "holy_sheep_max_tokens": "ai_gate_max_tokens",
    "ai_client_config_dir": "ai_config_dir",
    "service_user": "ai_user",
    "service_group": "ai_group",
}
"""Names under which inventories may know a variable, and the variable. The variable's own name goes first."""

TAG_PARTS: Mapping[str, tuple[str, ...]] = {
    "directory": ("directory",),
    "package": ("package",),
    "pip": ("package",),
    "config": ("directory", "config", "key"),
    "template": ("config",),
    "service": ("service",),
    "systemd": ("service",),
}
"""What `--tags` confines the work to."""

ALL_PARTS = ("directory", "package", "config", "key", "service")


class VariableError(Exception):
    """A variable cannot be used; the text says which and why."""


def parts(run_tags: list[str], skip_tags: list[str]) -> list[str]:
    """The parts of the work that the command line's tags leave."""
    named = {part for tag in run_tags for part in TAG_PARTS.get(tag, ())}
    if not named or {"all", "deploy"} & set(run_tags):
        named = set(ALL_PARTS)
    return sorted(named - {part for tag in skip_tags for part in TAG_PARTS.get(tag, ())})


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


def config_text(values: Mapping[str, Any], prices: Mapping[str, str], certificates: str, store_ca: str = "") -> str:
    """The configuration. There is no secret in it."""
    sections = _sections(values, prices, certificates)
    if values["ai_redis_url"]:
        sections["fleet"] = _shared(values["ai_redis_url"], store_ca)
    for section, keys in values["ai_config"].items():
        if not isinstance(keys, Mapping):
            raise VariableError(f"ai_config: [{section}] is no mapping of keys to values")
        for key, value in keys.items():
            text = _text(value)
            if key == "api_key" or has_password(text):
                raise VariableError(f"ai_config: [{section}] {key} is a secret; give it in a variable made for it")
            if "\n" in text or "\n" in f"{section}{key}":
                raise VariableError(f"ai_config: [{section}] {key} has more than one line")
            sections.setdefault(str(section), {})[str(key)] = text
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


def _environment(values: Mapping[str, Any]) -> str:
    """What is configured, and is a secret: lines for systemd's EnvironmentFile."""
    proxy, store = values["ai_proxy_url"], values["ai_redis_url"]
    lines = [f"AI_CLIENT_SECURITY__PROXY_URL={proxy}"] if has_password(proxy) else []
    lines += ["AI_CLIENT_FLEET__BACKEND=redis", f"AI_CLIENT_FLEET__REDIS_URL={store}"] if has_password(store) else []
    return "".join(f"{line}\n" for line in lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(each) for each in value)
    return str(value)


def document(
    values: Mapping[str, Any],
    release: Release,
    run_parts: list[str],
    certificates: str,
    rest: str = "",
    store_certificates: str = "",
) -> tuple[dict[str, Any], dict[str, str]]:
    """The document for the module, and the contents of its secret files by their paths."""
    folder, user, group = values["ai_config_dir"], values["ai_user"], values["ai_group"]
    config, key = f"{folder}/ai-client.conf", f"{folder}/credentials/{CREDENTIAL}"
    configured = _environment(values)
    environment = f"{folder}/credentials/environment" if configured else ""
    secrets = {}
    if values["ai_api_key"]:
        secrets[key] = values["ai_api_key"] + "\n"
    if environment:
        secrets[environment] = configured
    own = tuple(
        path
        for path, usual in (
            (values["ai_cache_dir"], "/var/cache/ai-client"),
            (values["ai_log_dir"], "/var/log/ai-client"),
        )
        if path != usual
    )
    place = Place(ROOT, config, user, group, {CREDENTIAL: key} if key in secrets else {}, environment, own)
    ca_path = f"{folder}/custom-ca.pem" if certificates else ""
    store_path = f"{folder}/redis-ca.pem" if store_certificates else ""
    text = config_text(values, costs(values["ai_model_costs"], rest), ca_path or values["ai_cert_path"], store_path)

    def file(path: str, content: str, mode: int, kind: str, effect: str, group: str = "root") -> dict[str, Any]:
        return {
            "path": path, "content": content, "mode": mode, "owner": "root", "group": group, "kind": kind,
            "effect": effect, "secret": False,
        }  # fmt: skip

    files = [
        *([file(ca_path, certificates, 0o644, "ca", "reload")] if ca_path else []),
        *([file(store_path, store_certificates, 0o644, "ca", "restart")] if store_path else []),
        file(config, text, 0o640, "config", "restart", group),
        *({**file(path, "", 0o400, "key", "restart"), "secret": True} for path in secrets),
        file(f"/etc/systemd/system/{SERVICE}", service_unit(place), 0o644, "unit", "restart"),
        file(f"/etc/systemd/system/{SOCKET}", socket_unit(place, values["ai_listen"]), 0o644, "unit", "socket"),
        file("/usr/local/bin/ai-client", wrapper(ROOT), 0o755, "link", ""),
    ]
    plain = [(ROOT, 0o755, "root", "root"), (folder, 0o755, "root", "root")]
    plain += [(f"{folder}/credentials", 0o700, "root", "root")] if secrets else []
    plain += [(path, 0o750, user, group) for path in own]
    links = [{"path": values["ai_venv_path"], "target": f"{ROOT}/current"}] if values["ai_venv_path"] else []
    return {
        "user": user,
        "group": group,
        "members": values["ai_group_members"],
        "root": ROOT,
        "release": release.id,
        "sha256": release.sha256,
        "keep": values["ai_keep_releases"],
        "folders": [dict(zip(("path", "mode", "owner", "group"), each)) for each in plain],
        "files": files,
        "links": links,
        "config": config,
        "key": key,
        "service": SERVICE,
        "socket": SOCKET,
        "address": next((each for each in values["ai_listen"] if each.startswith("unix:")), values["ai_listen"][0]),
        "owned": [f"{folder}/*", f"{folder}/credentials/*", f"{config}.d/*.conf"],
        "keep_files": values["ai_keep_files"],
        "data": ["/var/lib/ai-client", values["ai_cache_dir"], values["ai_log_dir"]],
        "gate": {
            "requests": values["ai_gate_requests"],
            "model": values["ai_model_default"],
            "max_tokens": values["ai_gate_max_tokens"],
            "timeout": values["ai_gate_timeout"],
            "start_timeout": values["ai_gate_start_timeout"],
            "watch": values["ai_gate_watch"],
            "trial": values["ai_gate_trial"],
            "ratio": values["ai_gate_latency_ratio"],
            "floor": values["ai_gate_latency_floor"],
        },
        "parts": run_parts,
    }, secrets
