"""From a node's variables to what the node should be: configuration, units, and the document that the module reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.ai_client.fleet.plugins.plugin_utils import configuration, keys
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


def parts(run_tags: list[str], skip_tags: list[str]) -> list[str]:
    """The parts of the work that the command line's tags leave."""
    named = {part for tag in run_tags for part in TAG_PARTS.get(tag, ())}
    if not named or {"all", "deploy"} & set(run_tags):
        named = set(ALL_PARTS)
    return sorted(named - {part for tag in skip_tags for part in TAG_PARTS.get(tag, ())})


def _environment(values: Mapping[str, Any]) -> str:
    """What is configured, and is a secret: lines for systemd's EnvironmentFile."""
    proxy, store = values["ai_proxy_url"], values["ai_redis_url"]
    lines = [f"AI_CLIENT_SECURITY__PROXY_URL={proxy}"] if configuration.has_password(proxy) else []
    lines += (
        ["AI_CLIENT_FLEET__BACKEND=redis", f"AI_CLIENT_FLEET__REDIS_URL={store}"]
        if configuration.has_password(store)
        else []
    )
    return "".join(f"{line}\n" for line in lines)


def _keys(values: Mapping[str, Any], places: Mapping[str, keys.Key], which: str) -> dict[str, str]:
    """The keys that the variables of this ending hold, by their names."""
    first = next(iter(places))
    own = {first: values[f"ai_api_key{which}"]} if values[f"ai_api_key{which}"] else {}
    return {**own, **keys.further(f"ai_api_keys{which}", values[f"ai_api_keys{which}"], places)}


@dataclass(frozen=True)
class _Service:
    """What the service reads, but for its configuration and keys: where that stands, and whose it is."""

    config: str
    user: str
    group: str
    environment: str
    writable: tuple[str, ...]
    authorities: tuple[tuple[str, str, str], ...]
    """Path, text, and what a change asks of the service."""

    def files(self, sections: keys.Sections, credentials: Mapping[str, str]) -> list[dict[str, Any]]:
        """All that it reads, and its unit; `credentials` are paths by the names of systemd's credentials."""
        place = Place(ROOT, self.config, self.user, self.group, credentials, self.environment, self.writable)
        secret = [*credentials.values(), *([self.environment] if self.environment else [])]
        return [
            *(_file(path, text, 0o644, "ca", effect) for path, text, effect in self.authorities),
            _file(self.config, configuration.written(sections), 0o640, "config", "restart", self.group),
            *({**_file(path, "", 0o400, "key", "restart"), "secret": True} for path in secret),
            _file(f"/etc/systemd/system/{SERVICE}", service_unit(place), 0o644, "unit", "restart"),
        ]


def _file(path: str, content: str, mode: int, kind: str, effect: str, group: str = "root") -> dict[str, Any]:
    return {
        "path": path, "content": content, "mode": mode, "owner": "root", "group": group, "kind": kind,
        "effect": effect, "secret": False,
    }  # fmt: skip


def document(
    values: Mapping[str, Any],
    release: Release,
    run_parts: list[str],
    certificates: str,
    rest: str = "",
    store_certificates: str = "",
    *,
    coming: bool = False,
) -> tuple[dict[str, Any], dict[str, str]]:
    """The document for the module, and the contents of its secret files by their paths.

    With `coming`, the keys that come are in their places, and `trials` says how each of them is tried alone.
    """
    folder, user, group = values["ai_config_dir"], values["ai_user"], values["ai_group"]
    ca_path = f"{folder}/custom-ca.pem" if certificates else ""
    store_path = f"{folder}/redis-ca.pem" if store_certificates else ""
    prices = configuration.costs(values["ai_model_costs"], rest)
    sections = configuration.sections_of(values, prices, ca_path or values["ai_cert_path"], store_path)
    places = keys.places(sections)
    given = _keys(values, places, "")
    next_ones = _keys(values, places, "_next") if coming else {}
    for name in next_ones:
        if places[name].credential != keys.CREDENTIAL and name not in given:
            raise configuration.VariableError(
                f"ai_api_keys_next: {name} is not in ai_api_keys: a key that is new is brought by deploy"
            )
    given |= next_ones
    configured = _environment(values)
    environment = f"{folder}/credentials/environment" if configured else ""
    paths = {name: f"{folder}/credentials/{places[name].credential}" for name in given}
    secrets = {paths[name]: f"{key}\n" for name, key in given.items()}
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
    authorities = ((ca_path, certificates, "reload"), (store_path, store_certificates, "restart"))
    service = _Service(
        f"{folder}/ai-client.conf", user, group, environment, own, tuple(each for each in authorities if each[0])
    )
    trials = []
    for name in next_ones:
        alone = keys.alone(sections, places[name], values["ai_model_default"])
        reads = service.files(alone.sections, {alone.credential: paths[name]})
        trials.append({"key": places[name].credential, "model": alone.model, "files": reads})
    credentials = {places[name].credential: path for name, path in paths.items()}
    files = [
        *service.files(sections, credentials),
        _file(f"/etc/systemd/system/{SOCKET}", socket_unit(user, group, values["ai_listen"]), 0o644, "unit", "socket"),
        _file("/usr/local/bin/ai-client", wrapper(ROOT), 0o755, "link", ""),
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
        "config": service.config,
        "credentials": credentials,
        "trials": trials,
        "service": SERVICE,
        "socket": SOCKET,
        "address": next((each for each in values["ai_listen"] if each.startswith("unix:")), values["ai_listen"][0]),
        "owned": [f"{folder}/*", f"{folder}/credentials/*", f"{service.config}.d/*.conf"],
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
