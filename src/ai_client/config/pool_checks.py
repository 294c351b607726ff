"""What only a whole pool shows: keys that belong nowhere, that are there twice, or that have no key."""

from __future__ import annotations

import itertools

from ai_client.config.assemble import Values
from ai_client.config.layers import Findings
from ai_client.config.pools import PoolKey, member_name
from ai_client.config.schema import Provider, renamed
from ai_client.config.sections import suggestion
from ai_client.config.snapshot import Config
from ai_client.config.values import printed


def check_pools(config: Config, values: Values, findings: Findings) -> None:
    """Note every mistake in the sections [key NAME]."""
    for name, pool in config.pools.items():
        for model in config.providers[name].models:
            if not any(model in member.models for member in pool):
                section, key = ("api", "models") if name == config.api.provider else (f"provider {name}", "models")
                given = values.get(section, key)
                origin = values.headers[f"key {pool[0].name[len(name) + 1 :]}"] if given is None else given.origin
                findings.refuse_value(origin, section, key, printed(model), "none of its keys may be used for it")
    for each in config.keys.values():
        section = f"key {each.name}"
        header = values.headers[section]
        name = member_name(each.provider, each.name)
        if name in config.providers:
            findings.refuse(
                header, f"[{section}] would be called {name}, as [provider {name}] is; rename one of the two"
            )
        provider = config.providers.get(each.provider)
        if provider is not None:
            _check_key(each, provider, config.pools[each.provider], values, findings)
        elif f"provider {each.provider}" not in values.headers:  # one that is there and wrong has been told of
            given = values.get(section, "provider")
            hint = f"there is no such provider{suggestion(each.provider, config.providers)}"
            origin = header if given is None else given.origin
            findings.refuse_value(origin, section, "provider", printed(each.provider), hint)


def _check_key(
    each: PoolKey, provider: Provider, pool: tuple[Provider, ...], values: Values, findings: Findings
) -> None:
    """One key, beside the others of its provider."""
    section = f"key {each.name}"
    header = values.headers[section]
    given = values.get(section, "models")
    if given is not None:
        for model in renamed(given.value or ())[0]:
            if model not in provider.models and not provider.open:
                hint = f"its provider does not serve it{suggestion(model, provider.models)}"
                findings.refuse_value(given.origin, section, "models", printed(model), hint)
    keyed = any(member.api_key is not None for member in pool)
    sources = ("api_key", "api_key_file", "base_url")
    if any((section, source) in values.failed for source in sources):
        return
    if each.api_key is None:
        if values.get(section, "api_key_file") is not None:
            return  # a file that cannot be used has been told of
        if keyed or each.base_url is None:
            findings.refuse(header, f"[{section}] has no key: give it api_key_file, a credential or the environment")
            return
    url = each.base_url or provider.base_url
    before = itertools.takewhile(lambda member: member.name != member_name(provider.name, each.name), pool)
    for other in before:
        if other.api_key == each.api_key and other.base_url == url:
            findings.refuse(
                header,
                f"[{section}] is {other.name} once more, with its key and base_url: as one key it has its limits once",
            )
