"""Bills of materials in CycloneDX 1.6 (ECMA-424), to look for known holes: of a release, and of the published package.

No clock and no chance: the same contents give the same bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from ai_client.bundle.release import Release
from ai_client.bundle.wheel import Wheel

LICENSE: Final = "Apache-2.0"
_NAMESPACE: Final = uuid.UUID("6f9c1f0e-4a35-5b0b-9b77-1f2b8f0f6a11")


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A package. Either `sha256`, of the wheel that is inside, or `files`: the sums of those of which an installation
    takes the one that fits its machine. `needs` are names of other parts, None where they are not known.
    """

    name: str
    version: str
    license: str = ""
    sha256: str = ""
    files: tuple[str, ...] = ()
    scope: str = ""
    environment: str = ""
    needs: frozenset[str] | None = None

    @property
    def purl(self) -> str:
        """Its package URL."""
        return f"pkg:pypi/{normal(self.name)}@{self.version}"


def sbom(release: Release, wheels: Iterable[Wheel]) -> bytes:
    """The bill of a release for servers: this program, and each package with its licence and its wheel's SHA-256."""
    parts = [Part(name=each.name, version=each.version, license=each.license, sha256=each.sha256) for each in wheels]
    parts.sort(key=lambda part: part.purl)
    properties = {"release": release.id, "python": release.python, "arch": release.arch}
    whole = {
        "bom-ref": f"pkg:generic/ai-client@{release.id}",
        "name": "ai-client",
        "version": release.version,
        "licenses": [{"license": {"id": LICENSE}}],
        "properties": [{"name": f"ai-client:{name}", "value": value} for name, value in properties.items()],
    }
    return bill(whole, {part.name for part in parts}, parts)


def bill(whole: Mapping[str, Any], needs: Collection[str], parts: Iterable[Part], timestamp: str = "") -> bytes:
    """A bill as JSON. `whole` is the component that it is of, `needs` the parts that it asks for itself; the time, if
    there is one, in RFC 3339.
    """
    parts = list(parts)
    dependencies = [{"ref": whole["bom-ref"], "dependsOn": _purls(parts, needs)}]
    dependencies += [
        {"ref": part.purl, "dependsOn": _purls(parts, part.needs)} for part in parts if part.needs is not None
    ]
    told: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            **({"timestamp": timestamp} if timestamp else {}),
            "component": {"type": "application", **whole},
        },
        "components": [_component(part) for part in parts],
        "dependencies": dependencies,
    }
    # of the content, so that the same content has the same number
    serial = uuid.uuid5(_NAMESPACE, msgspec.json.encode(told).decode())
    return msgspec.json.format(msgspec.json.encode({**told, "serialNumber": f"urn:uuid:{serial}"}), indent=2) + b"\n"


def normal(name: str) -> str:
    """A package's name as indexes spell it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _purls(parts: Iterable[Part], names: Collection[str]) -> list[str]:
    return sorted(part.purl for part in parts if part.name in names)


def _component(part: Part) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        **({"scope": part.scope} if part.scope else {}),
        "purl": part.purl,
    }
    if part.sha256:
        told["hashes"] = _hashes([part.sha256])
    if part.license:
        # what a package calls its licence need not be one of SPDX's names, so it is quoted as a name
        told["licenses"] = [{"license": {"name": part.license}}]
    if part.files:
        # whichever index they come from: the hashes say what they have to be
        told["externalReferences"] = [{"type": "distribution", "url": part.purl, "hashes": _hashes(part.files)}]
    if part.environment:
        told["properties"] = [{"name": "ai-client:environment", "value": part.environment}]
    return told


def _hashes(sums: Iterable[str]) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": each} for each in sums]
