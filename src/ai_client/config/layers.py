"""The layers of the configuration, lowest first: the file, its drop-ins, the environment. Text only, not yet typed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ai_client.config import ini
from ai_client.config.sections import SECTIONS, nearest, section_of, unknown_section
from ai_client.config.values import printed
from ai_client.errors import ConfigurationError

DEFAULT_PATH: Final = Path("/etc/ai-client/ai-client.conf")
PATH_VARIABLE: Final = "AI_CLIENT_CONFIG"
KEY_VARIABLE: Final = "HOLYSHEEP_API_KEY"
HOLYSHEEP: Final = "holysheep"
GIVEN: Final = "given"
"""How an origin says that the program itself gave a value."""
_PREFIX: Final = "AI_CLIENT_"
_LARGEST_FILE: Final = 4 * 1024**2
_FOLD: Final = re.compile(r"[^a-z0-9]")


class Origin(msgspec.Struct, frozen=True, order=True):
    """Where something was given: the layer's and the line's numbers to sort by, and the words to say it with."""

    layer: int
    line: int
    text: str


class Entry(msgspec.Struct, frozen=True):
    """One key as given in one layer."""

    section: str
    key: str
    text: str
    origin: Origin


class Layer(msgspec.Struct):
    """What one file or the environment gives. `headers` holds the sections that exist, even empty ones."""

    headers: dict[str, Origin] = msgspec.field(default_factory=dict)
    entries: list[Entry] = msgspec.field(default_factory=list)

    def add(self, entry: Entry) -> None:
        """Put one more key into the layer."""
        self.headers.setdefault(entry.section, entry.origin)
        self.entries.append(entry)


class Findings:
    """All that is wrong or doubtful, collected while loading goes on."""

    def __init__(self, *, keys: bool = True) -> None:
        """`keys`: are the providers' keys needed?"""
        self._keys = keys
        self._problems: list[tuple[Origin, str]] = []
        self.warnings: list[str] = []

    def refuse(self, origin: Origin, reason: str) -> None:
        """Note a mistake."""
        self._problems.append((origin, reason))

    def refuse_value(self, origin: Origin, section: str, key: str, given: str, reason: str) -> None:
        """Note a mistake in a value; `given` must be fit to print."""
        self.refuse(origin, f"[{printed(section)}] {printed(key)} = {given}: {reason}")

    def bar(self, origin: Origin, reason: str) -> None:
        """Note a key that only others may read: a mistake where it is needed, else a doubt."""
        if self._keys:
            self.refuse(origin, reason)
        else:
            self.warn(f"{origin.text}: {reason}")

    def warn(self, text: str) -> None:
        """Note a doubt that does not keep the configuration from being used."""
        self.warnings.append(text)

    def raise_problems(self) -> None:
        """Raise ConfigurationError with every mistake in the order of layers and lines, if there is any."""
        if self._problems:
            ordered = sorted(self._problems, key=lambda problem: (problem[0].layer, problem[0].line))
            raise ConfigurationError([f"{origin.text}: {reason}" for origin, reason in ordered])


def gather(
    path: Path | None, environ: Mapping[str, str], given: Mapping[str, Mapping[str, str]], findings: Findings
) -> list[Layer]:
    """Read the file (see `load`), its drop-ins and the environment; what the program gave comes last."""
    wanted = path or (Path(environ[PATH_VARIABLE]) if environ.get(PATH_VARIABLE) else None)
    main = wanted or DEFAULT_PATH
    try:
        drop_ins = sorted(each for each in Path(f"{main}.d").iterdir() if each.match("*.conf") and each.name[0] != ".")
    except FileNotFoundError:
        drop_ins = []
    except OSError as error:
        drop_ins = []
        findings.refuse(Origin(1, 0, f"{main}.d"), f"cannot be read: {error.strerror}")
    layers = [from_file(main, 0, findings, must_exist=wanted is not None)]
    layers += [from_file(each, number, findings) for number, each in enumerate(drop_ins, start=1)]
    layers.append(from_environment(environ, layers, findings))
    return [*layers, from_mapping(given, len(layers), findings)]


def from_file(path: Path, number: int, findings: Findings, *, must_exist: bool = True) -> Layer:
    """Read one file. A file that cannot be read is a mistake, and an empty layer."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        if must_exist or not isinstance(error, FileNotFoundError):
            findings.refuse(Origin(number, 0, str(path)), f"cannot be read: {error.strerror}")
        return Layer()
    if len(content) > _LARGEST_FILE:
        findings.refuse(Origin(number, 0, str(path)), f"larger than {_LARGEST_FILE} bytes: not a configuration")
        return Layer()
    return from_text(ini.decode(content), str(path), number, findings)


def from_text(text: str, filename: str, number: int, findings: Findings) -> Layer:
    """Read the text of a file; `filename` is only for messages."""

    def at(line: int) -> Origin:
        return Origin(number, line, f"{filename}:{line}")

    document = ini.read(text)
    for fault in document.faults:
        findings.refuse(at(fault.line), fault.reason)
    if document.preamble is not None:
        if document.headers:
            findings.warn(f"{filename}:{document.preamble}: text before the first section is not read; begin it with #")
        else:
            findings.refuse(at(document.preamble), "expected a `[section]`; the file has none")
    layer = Layer()
    for header in document.headers:
        if section_of(header.section) is None:
            findings.refuse(at(header.line), f"[{printed(header.section)}]: {unknown_section(header.section)}")
        else:
            layer.headers.setdefault(header.section, at(header.line))
    for item in document.items:
        if item.section in layer.headers:
            layer.add(Entry(item.section, item.key, item.value, at(item.line)))
    return layer


def from_mapping(sections: Mapping[str, Mapping[str, str]], number: int, findings: Findings) -> Layer:
    """Read sections given by a program."""
    layer = Layer()
    origin = Origin(number, 0, GIVEN)
    for section, keys in sections.items():
        if section_of(section) is None:
            findings.refuse(origin, f"[{printed(section)}]: {unknown_section(section)}")
            continue
        layer.headers[section] = origin
        for key, text in keys.items():
            layer.add(Entry(section, key, text.strip(), origin))
    return layer


def from_environment(environ: Mapping[str, str], below: Sequence[Layer], findings: Findings) -> Layer:
    """Read the variables `AI_CLIENT_SECTION__KEY`, and HOLYSHEEP_API_KEY. An empty variable is as good as none.

    Names of sections and models that cannot stand in a variable's name are written with `_` for every other character:
    `AI_CLIENT_PROVIDER_LOCAL_VLLM__BASE_URL`, `AI_CLIENT_MODEL_COSTS__GPT_4_1`; they are found among those that the
    layers below name.
    """
    layer = Layer()
    names = [name for name in sorted(environ) if name.startswith(_PREFIX) and name != PATH_VARIABLE and environ[name]]
    for line, name in enumerate(names):
        head, separator, tail = name.removeprefix(_PREFIX).lower().partition("__")
        if not separator:
            form = f"variables are AI_CLIENT_SECTION__KEY{_variable_like(head)}"
            findings.warn(f"env {printed(name)} is not read: {form}")
            continue
        origin = Origin(len(below), line, f"env {printed(name)}")
        section = _section_named(head, below)
        known = section_of(section)
        if known is None:
            findings.refuse(origin, f"[{printed(section)}]: {unknown_section(section)}")
            continue
        if known.free is None:
            layer.add(Entry(section, tail, environ[name].strip(), origin))
            continue
        model = next((model for model in _models_named(below, environ) if _folded(model) == _folded(tail)), None)
        if model is None:
            findings.refuse(origin, f"[{section}] {printed(tail)}: no model of such a name is configured")
        else:
            layer.add(Entry(section, model, environ[name].strip(), origin))
    # Only to the provider that it belongs to: another one must never be shown this key.
    if environ.get(KEY_VARIABLE) and _last_given("api", "provider", [*below, layer]) in (None, HOLYSHEEP):
        origin = Origin(len(below), len(names), f"env {KEY_VARIABLE}")
        layer.entries.insert(0, Entry("api", "api_key", environ[KEY_VARIABLE].strip(), origin))
    return layer


def _last_given(section: str, key: str, layers: Sequence[Layer]) -> str | None:
    """What the uppermost layer says of a key."""
    given = [entry.text for layer in layers for entry in layer.entries if (entry.section, entry.key) == (section, key)]
    return given[-1] if given else None


def _section_named(head: str, below: Sequence[Layer]) -> str:
    """The section that the first part of a variable's name means."""
    kind, _, own_name = head.partition("_")
    if not own_name or kind not in SECTIONS or not SECTIONS[kind].named:
        return head
    declared = (name for layer in below for name in layer.headers if name.startswith(f"{kind} "))
    return next((name for name in declared if _folded(name) == _folded(f"{kind} {own_name}")), f"{kind} {own_name}")


def _models_named(below: Sequence[Layer], environ: Mapping[str, str]) -> Iterator[str]:
    """Every model that the configuration names so far, and those that it has by itself."""
    for layer in below:
        for entry in layer.entries:
            if entry.section == "model_costs":
                yield entry.key
            elif entry.key == "models":
                yield from re.split(r"[\s,=]+", entry.text)
    yield from re.split(r"[\s,=]+", environ.get("AI_CLIENT_API__MODELS", ""))
    yield from SECTIONS["api"].keys["models"].default


def _variable_like(head: str) -> str:
    """The variable that was meant by one without `__`, as the end of a sentence."""
    places = [(section.name, key) for section in SECTIONS.values() if not section.named for key in section.keys]
    known = {key: f"{section}__{key}" for section, key in reversed(places)}
    known |= {f"{section}_{key}": f"{section}__{key}" for section, key in places}
    close = nearest(head, known)
    return f"; did you mean {_PREFIX}{known[close].upper()}?" if close else ""


def _folded(name: str) -> str:
    return _FOLD.sub("_", name.lower())
