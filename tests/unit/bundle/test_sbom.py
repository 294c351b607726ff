"""The list of what is in a release."""

from __future__ import annotations

import json

from ai_client.bundle.release import Release
from ai_client.bundle.sbom import sbom
from ai_client.bundle.wheel import Wheel

RELEASE = Release("1.0-abc", "1.0", "3.11", "x86_64", bytecode=True)
WHEELS = [Wheel("typing_extensions", "4.0", "", "ff", {}), Wheel("Click", "8.0", "BSD-3-Clause", "ee", {})]


def test_it_names_each_package_its_sum_and_its_licence() -> None:
    told = json.loads(sbom(RELEASE, WHEELS))
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    click, typing = told["components"]
    assert click["purl"] == "pkg:pypi/click@8.0"
    assert click["hashes"] == [{"alg": "SHA-256", "content": "ee"}]
    assert click["licenses"] == [{"license": {"name": "BSD-3-Clause"}}]
    assert typing["purl"] == "pkg:pypi/typing-extensions@4.0"
    assert "licenses" not in typing
    assert told["dependencies"] == [
        {"ref": "pkg:generic/ai-client@1.0-abc", "dependsOn": [click["purl"], typing["purl"]]}
    ]


def test_same_release_same_list() -> None:
    assert sbom(RELEASE, WHEELS) == sbom(RELEASE, list(reversed(WHEELS)))
