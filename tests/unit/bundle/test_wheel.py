"""Reading wheels."""

from __future__ import annotations

import hashlib
import io
import zipfile

import pytest

from ai_client.bundle.wheel import read
from ai_client.errors import AIClientError
from tests.wheels import wheel


def test_files_lie_as_in_site_packages_without_scripts_and_headers() -> None:
    data = wheel(
        "some",
        "1.0",
        {
            "some/__init__.py": "a = 1\n",
            "some-1.0.data/platlib/some/fast.py": "b = 2\n",
            "some-1.0.data/scripts/some": "#!python\n",
            "some-1.0.data/headers/some.h": "",
        },
    )
    found = read(data, "some.whl")
    assert sorted(found.files) == [
        "some-1.0.dist-info/METADATA",
        "some-1.0.dist-info/WHEEL",
        "some/__init__.py",
        "some/fast.py",
    ]
    assert (found.name, found.version, found.sha256) == ("some", "1.0", hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("said", "understood"),
    [
        ("License-Expression: MIT\nLicense: other\n", "MIT"),
        ("License: BSD\n        and its whole text\n", "BSD"),
        ("", ""),
    ],
)
def test_the_licence_is_what_the_metadata_says(said: str, understood: str) -> None:
    assert read(wheel("some", "1.0", {}, said), "some.whl").license == understood


def test_folders_are_passed_over() -> None:
    data = io.BytesIO(wheel("some", "1.0", {}))
    with zipfile.ZipFile(data, "a") as archive:
        archive.mkdir("some")
    assert "some/" not in read(data.getvalue(), "some.whl").files


def test_what_lies_outside_is_refused() -> None:
    with pytest.raises(AIClientError, match="outside of the wheel"):
        read(wheel("some", "1.0", {"../evil.py": ""}), "some.whl")


def test_what_is_no_wheel_is_refused() -> None:
    with pytest.raises(AIClientError, match="not a wheel, or is damaged"):
        read(b"no zip", "some.whl")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("readme", "")
    with pytest.raises(AIClientError, match="has no METADATA"):
        read(data.getvalue(), "some.whl")
