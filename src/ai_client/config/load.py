"""From files and variables to a checked configuration: all mistakes are found before any is reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import msgspec

from ai_client.config.assemble import Given, Values, assemble
from ai_client.config.checks import check
from ai_client.config.ini import unprintable
from ai_client.config.layers import Entry, Findings, Layer, from_text, gather
from ai_client.config.layers import from_mapping as layer_of
from ai_client.config.sections import OTHER_PLACES, SECTIONS, suggestion, unknown_key
from ai_client.config.snapshot import Config
from ai_client.config.values import HIDDEN, is_model, printed


class Loaded(msgspec.Struct, frozen=True):
    """A configuration that may be used.

    `origins` says where each effective value came from, by section and key as they stand in a file:
    `default`, `FILE:LINE`, `env NAME`, `given` (by the program), `credential NAME`, `file PATH` or `[section] key` for
    what a provider inherits.
    """

    config: Config
    warnings: tuple[str, ...]
    origins: Mapping[tuple[str, str], str]


def load(
    path: Path | None,
    environ: Mapping[str, str],
    given: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    *,
    keys: bool = True,
) -> Loaded:
    """Load `path`, its drop-ins `path.d/*.conf` in the order of their names, and the variables of `environ` over them.

    `given` are sections that the program itself gives, as `from_mapping` takes them: they go before all else, and a key
    among them before credentials and files. `path` None means the file that the variable AI_CLIENT_CONFIG names,
    otherwise /etc/ai-client/ai-client.conf if it exists, otherwise defaults. Without `keys`, a key's file that only
    others may read is no mistake: who goes through the node's daemon reads this to know where that is, and needs none.
    Raises ConfigurationError with every mistake.
    """
    findings = Findings(keys=keys)
    return _understand(gather(path, environ, given, findings), environ, findings)


def parse_text(text: str, filename: str = "ai-client.conf") -> Loaded:
    """Load the text of one file, without drop-ins or environment. Raises ConfigurationError with every mistake."""
    findings = Findings()
    return _understand([from_text(text, filename, 0, findings)], {}, findings)


def from_mapping(sections: Mapping[str, Mapping[str, str]]) -> Config:
    """Make a configuration of sections given by a program, each value written as in a file; no environment is asked.

    `from_mapping({"api": {"timeout": "5"}, "provider local": {...}})`. Raises ConfigurationError with every mistake.
    """
    findings = Findings()
    return _understand([layer_of(sections, 0, findings)], {}, findings).config


def _understand(layers: Iterable[Layer], environ: Mapping[str, str], findings: Findings) -> Loaded:
    values = Values()
    for layer in layers:
        for section, origin in layer.headers.items():
            values.sections.setdefault(section, {})
            values.headers.setdefault(section, origin)
        # A key in another place than its own goes first, so that its own place wins within one layer.
        for entry in sorted(layer.entries, key=lambda entry: (entry.section, entry.key) not in OTHER_PLACES):
            _take(entry, values, findings)
    config, origins = assemble(values, environ, findings)
    check(config, values, findings)
    findings.raise_problems()
    return Loaded(config, tuple(findings.warnings), origins)


def _take(entry: Entry, values: Values, findings: Findings) -> None:
    """Parse one entry into `values`, over what layers below gave; what is wrong goes to `findings`."""
    place = OTHER_PLACES.get((entry.section, entry.key))
    home, key = place or (entry.section, entry.key)
    if place is not None:
        findings.warn(f"{entry.origin.text}: [{entry.section}] {entry.key} is read as [{home}] {key}: write it there")
    section = SECTIONS[home.partition(" ")[0]]
    declared = section.free if section.free is not None and is_model(key) else section.keys.get(key)
    if declared is None:
        reason = "expected a model's name" if section.free is not None else unknown_key(section, key)
        findings.refuse(entry.origin, f"[{entry.section}] {printed(key)}: {reason}")
        return
    given = values.sections.setdefault(home, {})
    if declared.inherits and not entry.text:
        given.pop(key, None)
        return
    fault = unprintable(entry.text)
    if fault is None:
        try:
            given[key] = Given(declared.kind.parse(entry.text), entry.origin)
        except ValueError:
            fault = f"expected {declared.expected}{suggestion(entry.text, declared.kind.choices)}"
    if fault is not None:
        values.failed.add((home, key))
        shown = HIDDEN if declared.secret else printed(entry.text)
        findings.refuse_value(entry.origin, entry.section, entry.key, shown, fault)
