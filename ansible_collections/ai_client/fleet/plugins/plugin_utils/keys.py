"""The keys of all providers: which there may be, whose they are, and a configuration in which one of them stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.ai_client.fleet.plugins.plugin_utils.configuration import VariableError

CREDENTIAL = "ai-client-api-key"
_LONGEST = 4096
_ON_THE_WAY = (
    *("api", "performance", "limits", "security", "fleet"),
    *("daemon", "caching", "costs", "logging", "monitoring"),
)
"""Sections that a question needs on its way to one provider. What would send it elsewhere is not among them."""

Sections = Mapping[str, Mapping[str, str]]


class Key(NamedTuple):
    """A place for a key: its name, as logs and metrics have it (PROVIDER, or PROVIDER.KEY), the section of its provider,
    and the section of its own, empty for the provider's own key.
    """

    name: str
    provider: str
    section: str

    @property
    def credential(self) -> str:
        """The credential of systemd's in which the client looks for it."""
        return CREDENTIAL if self.provider == "api" and not self.section else f"{CREDENTIAL}-{self.name}"


class Alone(NamedTuple):
    """A configuration that knows one key, as its provider's own, and the model to ask for."""

    sections: dict[str, dict[str, str]]
    credential: str
    model: str


def places(sections: Sections) -> dict[str, Key]:
    """Every key that the configuration has a place for, by its name. The first is that of [api]."""
    default = sections["api"]["provider"]
    providers = {default: "api"}
    for section in sections:
        kind, _blank, name = section.partition(" ")
        if kind == "provider":
            providers[name] = section
    found = {name: Key(name, section, "") for name, section in providers.items()}
    for section, said in sections.items():
        kind, _blank, name = section.partition(" ")
        owner = said.get("provider") or default
        if kind == "key" and owner in providers:  # of one that is not there the client itself tells
            found[f"{owner}.{name}"] = Key(f"{owner}.{name}", providers[owner], section)
    return found


def further(variable: str, given: Mapping[Any, Any], known: Mapping[str, Key]) -> dict[str, str]:
    """The keys that a variable holds beside the first one, by their names. Raises `VariableError`, which repeats none."""
    first, *others = known
    found = {}
    for name, key in given.items():
        if name == first:
            raise VariableError(f"{variable}: the key of {first} is given in {variable.replace('_keys', '_key')}")
        if name not in known:
            there = f"there are {', '.join(others)}" if others else "it has no [provider] and no [key]"
            raise VariableError(f"{variable}: the configuration (ai_config) has no place for {name!r}: {there}")
        text = str(key).strip()
        if not 0 < len(text) <= _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
            raise VariableError(f"{variable}: the key of {name} is not one word of printable ASCII")
        found[name] = text
    return found


def alone(sections: Sections, key: Key, default_model: str) -> Alone:
    """The configuration for a process that has this key only, so that no other one can answer in its place."""
    kept = {name: dict(said) for name, said in sections.items() if name in _ON_THE_WAY or name == key.provider}
    provider = kept[key.provider]
    own = sections[key.section] if key.section else {}
    provider.update({name: own[name] for name in ("base_url", "models") if own.get(name)})
    theirs = _served(sections[key.provider]["models"])
    served = {
        name: theirs.get(name, name) if name == other else other for name, other in _served(provider["models"]).items()
    }
    named = [name for name in served if name != "*"]
    model = default_model if default_model in served or not named else named[0]
    renamed = model if served.get(model, model) == model else f"{model}={served[model]}"
    # open, so that what other sections have by default need not be served
    provider["models"] = f"{renamed}, *"
    owner = key.name.removesuffix(f".{key.section.partition(' ')[2]}") if key.section else key.name
    return Alone(kept, Key(owner, key.provider, "").credential, f"{owner}/{model}")


def _served(text: str) -> dict[str, str]:
    """Names of models, and what the provider calls them."""
    found = {}
    for item in text.split(","):
        name, renames, other = (each.strip() for each in item.partition("="))
        found[name] = other if renames else name
    return found
