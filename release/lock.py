"""The lock, and the bill of materials that is made from it alone: what is in it, is what was tested.

`required` are packages that `pip install ai-client` brings, `optional` those of its extras. The development environment
is not shipped and not listed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ai_client.bundle.sbom import Part, bill, normal

_PACKAGE: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+?)(?:\s*;\s*(?P<marker>.*?))?\s*\\?")
_HASH: Final = re.compile(r"\s+--hash=sha256:([0-9a-f]{64})")
_VIA: Final = re.compile(r"\s+# +(?:via +)?(?P<name>[A-Za-z0-9._-]+)(?: \(.*\))?")
_REQUIREMENT: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[^\]]*)\])?")


class Locked(msgspec.Struct, frozen=True):
    """One package of the lock: a version, for which environments, its files' hashes, and who asked for it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    wanted_by: frozenset[str]


def read_lock(text: str) -> list[Locked]:
    """The packages of a lock that `uv pip compile --generate-hashes` wrote. Raises ValueError for anything else."""
    packages: list[Locked] = []
    found: re.Match[str] | None = None
    hashes: list[str] = []
    via: set[str] = set()

    def finish() -> None:
        if found is not None:
            if not hashes:
                raise ValueError(f"{found['name']} has no hash in the lock")
            packages.append(
                Locked(found["name"], found["version"], found["marker"] or "", tuple(hashes), frozenset(via))
            )

    for line in text.splitlines():
        if match := _HASH.match(line):
            hashes.append(match[1])
        elif match := _PACKAGE.fullmatch(line):
            finish()
            found, hashes, via = match, [], set()
        elif (match := _VIA.fullmatch(line)) and match["name"] != "via":
            via.add(match["name"])
    finish()
    if not packages:
        raise ValueError("the lock names no package")
    return packages


def document(project: Mapping[str, Any], lock: Sequence[Locked], version: str, timestamp: str) -> bytes:
    """The bill: `project` is `[project]` of pyproject.toml, `timestamp` in RFC 3339.

    Raises ValueError when something the project asks for is not in the lock.
    """
    required = _closure(project["dependencies"], lock)
    extras = [each for wanted in project.get("optional-dependencies", {}).values() for each in wanted]
    asked = [*project["dependencies"], *extras]
    everything = _closure(asked, lock)
    own = f"pkg:pypi/{project['name']}@{version}"
    whole = {
        "bom-ref": own,
        "name": project["name"],
        "version": version,
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
        "purl": own,
    }
    parts = [
        Part(
            name=each.name,
            version=each.version,
            files=each.hashes,
            scope="required" if each.name in required else "optional",
            environment=each.marker,
            needs=frozenset(other.name for other in lock if each.name in other.wanted_by),
        )
        for each in lock
        if each.name in everything
    ]
    return bill(whole, {_name(each) for each in asked}, parts, timestamp)


def project_of(pyproject: str) -> dict[str, Any]:
    """`[project]` of the text of a pyproject.toml."""
    project: dict[str, Any] = tomllib.loads(pyproject)["project"]
    return project


def _closure(wanted: Iterable[str], lock: Sequence[Locked]) -> frozenset[str]:
    """The names of what is wanted and of all that it brings along."""
    known = {each.name for each in lock}
    wanted = list(wanted)
    # an extra is often called after the package that it brings (`redis[hiredis]`); the lock tells no more of it
    todo = [_name(each) for each in wanted] + [extra for each in wanted for extra in _extras(each) if extra in known]
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in known:
            raise ValueError(f"{name} is not in the lock: run make lock")
        if name not in found:
            found.add(name)
            todo += [each.name for each in lock if name in each.wanted_by]
    return frozenset(found)


def _name(requirement: str) -> str:
    return normal(_read(requirement)["name"])


def _extras(requirement: str) -> list[str]:
    return [extra.strip() for extra in (_read(requirement)["extras"] or "").split(",") if extra]


def _read(requirement: str) -> re.Match[str]:
    match = _REQUIREMENT.match(requirement)
    if match is None:
        raise ValueError(f"{requirement!r} asks for no package")
    return match
