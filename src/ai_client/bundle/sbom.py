"""A CycloneDX 1.5 list of what is in a release, to look for known holes. No date: same release, same list."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from ai_client.bundle.release import Release
from ai_client.bundle.wheel import Wheel

_SPACE: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 9562: names that are addresses


def sbom(release: Release, wheels: Iterable[Wheel]) -> bytes:
    """The list as JSON: this program, and each package with its version, licence, and its wheel's SHA-256."""
    parts = [_component(wheel) for wheel in sorted(wheels, key=lambda wheel: _normal(wheel.name))]
    root = f"pkg:generic/ai-client@{release.id}"
    told = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SPACE, root)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "ai-client",
                "version": release.version,
                "licenses": [{"expression": "Apache-2.0"}],
                "properties": [
                    {"name": "ai-client:release", "value": release.id},
                    {"name": "ai-client:python", "value": release.python},
                    {"name": "ai-client:arch", "value": release.arch},
                ],
            }
        },
        "components": parts,
        "dependencies": [{"ref": root, "dependsOn": [part["bom-ref"] for part in parts]}],
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n"


def _component(wheel: Wheel) -> dict[str, Any]:
    address = f"pkg:pypi/{_normal(wheel.name)}@{wheel.version}"
    told: dict[str, Any] = {
        "type": "library",
        "bom-ref": address,
        "name": wheel.name,
        "version": wheel.version,
        "purl": address,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    # What a package calls its licence need not be one of SPDX's names, so it is quoted as a name.
    return {**told, "licenses": [{"license": {"name": wheel.license}}]} if wheel.license else told


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
