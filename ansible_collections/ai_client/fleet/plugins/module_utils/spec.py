"""What a node should be, as the controller sends it: plain JSON, read here into what the other rooms work with."""

from __future__ import annotations

import configparser
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.ai_client.fleet.plugins.module_utils.files import File, Folder
from ansible_collections.ai_client.fleet.plugins.module_utils.gate import Bounds, Question

NEEDS_RESTART = ("daemon", "logging", "monitoring", "caching", "costs", "fleet")
"""Sections that the daemon reads at its start only; any other is put in force by a reload."""

PARTS = {
    "user": "directory",
    "folder": "directory",
    "release": "package",
    "release_file": "package",
    "package": "package",
    "current": "package",
    "link": "package",
    "config": "config",
    "ca": "config",
    "key": "key",
    "extra": "config",
    "mode": "config",
    "unit": "service",
    "dropin": "service",
    "stopped": "service",
    "disabled": "service",
    "process": "service",
}
"""Each kind of difference, and the part of the work that mends it."""


@dataclass(frozen=True)
class Gate:
    """How the service is tried, and with what. Times are in seconds; `watch` is 0 for none."""

    question: Question
    start_timeout: float
    watch: float
    trial: bool
    bounds: Bounds


@dataclass(frozen=True)
class Alone:
    """A key that is to be tried by itself: its credential, what the candidate reads then, and the model that it is asked for."""

    key: str
    model: str
    files: list[File]


@dataclass(frozen=True)
class Spec:
    """A node as it should be. `credentials` are the paths of keys by the names under which systemd hands them over; `trials`
    tries those that are new.
    """

    user: str
    group: str
    members: list[str]
    root: str
    release: str
    sha256: str
    keep: int
    folders: list[Folder]
    files: list[File]
    links: list[dict[str, str]]
    config: str
    credentials: dict[str, str]
    trials: list[Alone]
    service: str
    socket: str
    address: str
    owned: list[str]
    keep_files: list[str]
    data: list[str]
    gate: Gate
    parts: list[str] = field(default_factory=lambda: sorted(set(PARTS.values())))


def read_spec(document: dict[str, Any], secrets: dict[str, str]) -> Spec:
    """Read the document. `secrets` holds what the files named as secret contain, by their paths."""
    plain = dict(document)
    plain["folders"] = [Folder(**each) for each in document["folders"]]
    plain["files"] = _files(document["files"], secrets)
    plain["trials"] = [Alone(**{**each, "files": _files(each["files"], secrets)}) for each in document["trials"]]
    gate = dict(document["gate"])
    gate["bounds"] = Bounds(gate.pop("ratio"), gate.pop("floor"))
    gate["question"] = Question(*(gate.pop(name) for name in ("model", "requests", "timeout", "max_tokens")))
    plain["gate"] = Gate(**gate)
    return Spec(**plain)


def _files(documents: list[dict[str, Any]], secrets: dict[str, str]) -> list[File]:
    return [
        File(**{**each, "content": secrets.get(each["path"], "") if each.get("secret") else each["content"]})
        for each in documents
    ]


def config_effect(before: str, after: str) -> str:
    """What a change of the configuration asks of the service: a `reload`, or a `restart`."""
    try:
        old, new = _sections(before), _sections(after)
    except configparser.Error:
        return "restart"
    return "restart" if any(old.get(name) != new.get(name) for name in NEEDS_RESTART) else "reload"


def _sections(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), delimiters=("=",))
    parser.read_string(text)
    return {name: dict(parser.items(name)) for name in parser.sections()}
