"""From values that were given to a whole configuration: defaults, inheritance, keys, and where everything came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from ai_client.config.layers import GIVEN, HOLYSHEEP, Findings, Origin
from ai_client.config.pools import PoolKey, member_name, pool_of
from ai_client.config.quotas import Limit
from ai_client.config.schema import Api, App, Provider, renamed
from ai_client.config.secrets import (
    CREDENTIAL,
    TLS_CREDENTIALS,
    BarredError,
    Secret,
    credential_file,
    read_key_file,
    readable_by_others,
)
from ai_client.config.sections import SECTIONS
from ai_client.config.snapshot import Config

_LAST: Final = 1_000_000
"""A layer above all others: mistakes that belong to no line are told at the end."""


class Given(msgspec.Struct, frozen=True):
    """A value as parsed, and where it was given."""

    value: Any
    origin: Origin


class Values(msgspec.Struct):
    """What all layers together give: `sections` by section and key, where each section begins, what did not parse."""

    sections: dict[str, dict[str, Given]] = msgspec.field(default_factory=dict)
    headers: dict[str, Origin] = msgspec.field(default_factory=dict)
    failed: set[tuple[str, str]] = msgspec.field(default_factory=set)

    def get(self, section: str, key: str) -> Given | None:
        """What was given for a key, None for its default."""
        return self.sections.get(section, {}).get(key)

    def named(self, kind: str) -> list[tuple[str, str]]:
        """The sections `[kind NAME]` as (section, NAME), in the order in which they first stand."""
        return [(section, section.partition(" ")[2]) for section in self.sections if section.startswith(f"{kind} ")]


def assemble(
    values: Values, environ: Mapping[str, str], findings: Findings
) -> tuple[Config, Mapping[tuple[str, str], str]]:
    """Build the configuration, and say where each value came from, by section and key.

    What did not parse has its default; a provider that lacks something required is left out; both are in `findings`.
    """
    assembly = _Assembly(values, environ, findings)
    return assembly.config(), MappingProxyType(assembly.origins)


class _Assembly:
    """The parts while they are put together."""

    def __init__(self, values: Values, environ: Mapping[str, str], findings: Findings) -> None:
        self.origins: dict[tuple[str, str], str] = {}
        self._values = values
        self._environ = environ
        self._findings = findings
        self._plain: dict[str, Any] = {}

    def config(self) -> Config:
        for section in SECTIONS.values():
            if section.free is not None:
                given = self._values.sections.get(section.name, {})
                self._plain[section.name] = MappingProxyType({model: price.value for model, price in given.items()})
                self.origins |= {(section.name, model): price.origin.text for model, price in given.items()}
            elif not section.named:
                self._plain[section.name] = section.owner(**self._given(section.name))
        if not self._plain["fleet"].node_name:
            self._plain["fleet"] = structs.replace(self._plain["fleet"], node_name=os.uname().nodename)
            self.origins["fleet", "node_name"] = "the host's name"
        api: Api = self._plain["api"]
        self._plain["api"] = structs.replace(api, api_key=self._key("api", api.provider, api.base_url))
        self._plain["daemon"] = structs.replace(self._plain["daemon"], **self._tls_credentials())
        providers = self._providers()
        keys = self._keys(providers)
        pools = {
            name: pool_of(provider, own)
            for name, provider in providers.items()
            if (own := [each for each in keys.values() if each.provider == name])
        }
        apps = {name: self._app(section, name) for section, name in self._values.named("app")}
        quotas = {name: Limit(name=name, **self._given(section)) for section, name in self._values.named("limit")}
        return Config(
            **self._plain,
            providers=MappingProxyType(providers),
            apps=MappingProxyType(apps),
            quotas=MappingProxyType(quotas),
            keys=MappingProxyType(keys),
            pools=MappingProxyType(pools),
        )

    def _given(self, section: str) -> dict[str, Any]:
        """The values given in a section; notes where all of its values come from."""
        given = self._values.sections.get(section, {})
        for key in SECTIONS[section.partition(" ")[0]].keys.values():
            source = "default" if key.inherits is None else "[{}] {}".format(*key.inherits)
            self.origins[section, key.name] = given[key.name].origin.text if key.name in given else source
        return {key: each.value for key, each in given.items()}

    def _tls_credentials(self) -> dict[str, Path]:
        """The files of the listeners' certificate that systemd handed over."""
        handed: dict[str, Path] = {}
        for key, credential in TLS_CREDENTIALS:
            path = credential_file(credential, self._environ)
            if path is not None:
                handed[key] = path
                self.origins["daemon", key] = f"credential {credential}"
        return handed

    def _providers(self) -> dict[str, Provider]:
        """The [api] section presented as a provider, then the others."""
        declared = SECTIONS["provider"].keys.values()
        inherited = {
            key.name: getattr(self._plain[key.inherits[0]], key.inherits[1]) for key in declared if key.inherits
        }
        api: Api = self._plain["api"]
        own = {key.name: getattr(api, key.name) for key in declared if hasattr(api, key.name)}
        providers = {api.provider: _provider(api.provider, inherited | own)}
        for section, name in self._values.named("provider"):
            header = self._values.headers[section]
            own = self._given(section)
            missing = [key for key in declared if key.required and key.name not in own]
            for key in missing:
                if (section, key.name) not in self._values.failed:
                    self._findings.refuse(header, f"[{section}] {key.name} is missing: expected {key.kind.allowed}")
            if name in providers:
                self._findings.refuse(header, f"[{section}]: [api] is called {name} already; rename one of the two")
            elif not missing:
                own["api_key"] = self._key(section, name, own["base_url"])
                providers[name] = _provider(name, inherited | own)
        return providers

    def _keys(self, providers: Mapping[str, Provider]) -> dict[str, PoolKey]:
        """Further keys, each with its secret. One whose provider is not known is left out: `checks` says so."""
        keys: dict[str, PoolKey] = {}
        for section, name in self._values.named("key"):
            given = PoolKey(name=name, **self._given(section))
            owner = given.provider or self._plain["api"].provider
            secret = None
            if owner in providers:
                url = given.base_url or providers[owner].base_url
                secret = self._key(section, member_name(owner, name), url, owner)
            keys[name] = structs.replace(given, provider=owner, api_key=secret)
        return keys

    def _app(self, section: str, name: str) -> App:
        app = App(name=name, **self._given(section))
        return structs.replace(app, tag=app.tag or name)

    def _key(self, section: str, name: str, base_url: str, provider: str = "") -> Secret | None:
        """The API key from the first source that has one. `provider` is whose it is, unless it is that of `name`.

        A source that is there but cannot be used is a mistake: who set it up expects no other in its place.
        """
        credential = CREDENTIAL if section == "api" else f"{CREDENTIAL}-{name}"
        path = credential_file(credential, self._environ)
        file, given = self._values.get(section, "api_key_file"), self._values.get(section, "api_key")
        if given is not None and given.origin.text == GIVEN:  # the program knows better than the node
            path = file = None
        origin = Origin(_LAST, 0, f"credential {credential}")
        if path is None and file is not None and file.value is not None:
            path, origin = file.value, structs.replace(file.origin, text=f"file {file.value} ({file.origin.text})")
            if readable_by_others(file.value):
                self._findings.warn(f"{file.origin.text}: {file.value} holds a key and anybody may read it: chmod o-r")
        if path is not None:
            try:
                key = read_key_file(path)
            except BarredError as error:
                self.origins[section, "api_key"] = origin.text
                self._values.failed.add((section, "api_key"))
                self._findings.bar(origin, f"[{section}] the API key {error}")
                return None
            except ValueError as error:
                self._findings.refuse(origin, f"[{section}] the API key {error}")
                return None
        elif given is not None and given.value is not None:
            key, origin = given.value, given.origin
        else:
            self.origins[section, "api_key"] = "default"
            return None
        self.origins[section, "api_key"] = origin.text
        host = urlsplit(base_url).hostname or ""
        is_holysheep = (provider or name) == HOLYSHEEP or host == "holysheep.ai" or host.endswith(".holysheep.ai")
        if is_holysheep and (not key.reveal().startswith("hs_") or key.reveal() == "hs_"):
            hint = (
                "; for another provider's key, name that provider: `provider = …` here, or AI_CLIENT_API__PROVIDER"
                if section == "api"
                else ""
            )
            fault = "HolySheep's keys begin with hs_ and this one does not"
            self._findings.refuse(origin, f"[{section}] api_key: {fault}{hint}")
        return key


def _provider(name: str, values: dict[str, Any]) -> Provider:
    """Take `local=upstream` apart and build the provider."""
    models, renames = renamed(values.pop("models"))
    return Provider(name=name, models=models, renames=renames, **values)
