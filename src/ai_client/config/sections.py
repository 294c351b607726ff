"""The table of sections, drawn from the schema, and the search for the name that was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

import msgspec

from ai_client.config import guard, hedge, pools, quotas, schema, streams
from ai_client.config.keys import Key, declarations
from ai_client.config.values import ModelCost, cost, is_name


class Section(msgspec.Struct, frozen=True):
    """A section: its class and keys. `named` ones are `[provider NAME]`; `free` ones take a model's name as the key."""

    name: str
    owner: type
    keys: Mapping[str, Key]
    named: bool = False
    free: Key | None = None

    @property
    def title(self) -> str:
        """The section as it stands in a file."""
        return f"{self.name} NAME" if self.named else self.name

    @property
    def meaning(self) -> str:
        """One line on what the section is for."""
        return (self.owner.__doc__ or "").partition("\n")[0]


def _section(name: str, owner: type, *, named: bool = False) -> Section:
    return Section(name, owner, MappingProxyType(declarations(owner)), named)


_PRICE: Final = Key("MODEL", cost(), None, "USD per 1M tokens", "The price of the model whose name is the key.")

SECTIONS: Final[Mapping[str, Section]] = MappingProxyType(
    {
        section.name: section
        for section in (
            _section("api", schema.Api),
            _section("models", schema.Models),
            Section("model_costs", ModelCost, MappingProxyType({}), free=_PRICE),
            _section("performance", schema.Performance),
            _section("caching", schema.Caching),
            _section("logging", schema.Logging),
            _section("security", schema.Security),
            _section("monitoring", schema.Monitoring),
            _section("limits", quotas.Limits),
            _section("fleet", quotas.Fleet),
            _section("routing", schema.Routing),
            _section("streams", streams.Streams),
            _section("guard", guard.Guard),
            _section("adaptive", guard.Adaptive),
            _section("hedge", hedge.Hedge),
            _section("admission", guard.Admission),
            _section("batch", schema.Batch),
            _section("daemon", schema.Daemon),
            _section("costs", schema.Costs),
            _section("provider", schema.Provider, named=True),
            _section("key", pools.PoolKey, named=True),
            _section("app", schema.App, named=True),
            _section("limit", quotas.Limit, named=True),
        )
    }
)
"""Every section by its name, in the order of the reference page."""

OTHER_PLACES: Final[Mapping[tuple[str, str], tuple[str, str]]] = MappingProxyType(
    {
        place: (section.name, declared.name)
        for section in SECTIONS.values()
        for declared in section.keys.values()
        for place in declared.also
    }
)
"""Where a key is accepted besides its proper place: (section, key) as found to (section, key) as meant."""


def section_of(name: str) -> Section | None:
    """The section that `name`, as it stands in brackets (`api`, `provider local`), belongs to; None when unknown."""
    kind, _, own_name = name.partition(" ")
    section = SECTIONS.get(kind)
    if section is None or section.named != bool(own_name) or (own_name and not is_name(own_name)):
        return None
    return section


def unknown_section(name: str) -> str:
    """What to say of a section that does not exist."""
    kind = name.partition(" ")[0]
    meant = SECTIONS.get(kind)
    if meant is not None and meant.named:
        plain = f", or [{kind}s]" if f"{kind}s" in SECTIONS else ""  # [limit] for [limits]
        return f"expected [{meant.name} NAME], in letters, digits, dots, dashes and underscores{plain}"
    close = nearest(kind, SECTIONS)
    if close:
        return f"unknown section; did you mean [{SECTIONS[close].title}]?"
    return "unknown section; known: " + ", ".join(f"[{section.title}]" for section in SECTIONS.values())


def unknown_key(section: Section, name: str) -> str:
    """What to say of a key that its section does not have: its true section, the nearest key here, or all there are."""
    homes = [f"[{other.title}] {name}" for other in SECTIONS.values() if name in other.keys and not other.named]
    homes += sorted({f"[{proper}] {key}" for (_, other), (proper, key) in OTHER_PLACES.items() if other == name})
    if homes:
        return f"unknown key here; did you mean {' or '.join(homes)}?"
    close = nearest(name, section.keys)
    return f"unknown key; did you mean {close}?" if close else f"unknown key; known here: {', '.join(section.keys)}"


def suggestion(given: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest of the known words, or nothing when none is near."""
    close = nearest(given, known)
    return f"; did you mean {close}?" if close else ""


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The known word most like the given one, in any case; None when none is near."""
    by_folded = {word.lower(): word for word in known}
    close = get_close_matches(given.lower()[:100], by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None
