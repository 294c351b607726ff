"""What a release consists of and is called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ai_client.bundle.release import (
    RELEASE,
    SUMS,
    File,
    archive_name,
    differences,
    finished,
    launcher,
    release_of,
    sums,
)
from ai_client.errors import AIClientError

FILES = {"lib/a.py": File(b"a = 1\n"), "bin/ai-client": launcher("3.11")}


def _id(files: dict[str, File], python: str = "3.11", arch: str = "x86_64") -> str:
    return release_of(finished(files, "1.0", python, arch, bytecode=True)).id


def test_the_name_is_that_of_the_contents() -> None:
    made = finished(FILES, "1.0", "3.11", "x86_64", bytecode=True)
    assert made == finished(dict(reversed(FILES.items())), "1.0", "3.11", "x86_64", bytecode=True)
    named = release_of(made)
    assert named.version == "1.0"
    assert named.bytecode
    assert archive_name(named) == f"ai-client-{named.id}-py3.11-x86_64.tar.gz"


def test_whatever_differs_gives_another_name() -> None:
    names = {
        _id(FILES),
        _id({**FILES, "lib/a.py": File(b"a = 2\n")}),
        _id({**FILES, "lib/a.py": File(b"a = 1\n", executable=True)}),
        _id({**FILES, "lib/b.py": File(b"")}),
        _id(FILES, python="3.13"),
        _id(FILES, arch="aarch64"),
    }
    assert len(names) == 6


def test_sums_are_what_sha256sum_checks(tmp_path: Path) -> None:
    made = finished(FILES, "1.0", "3.11", "x86_64", bytecode=False)
    for name, file in made.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(file.data)
    subprocess.run([shutil.which("sha256sum") or "", "--check", "--strict", SUMS], cwd=tmp_path, check=True)
    assert sorted(line.split("  ")[1] for line in made[SUMS].data.decode().splitlines()) == sorted({*FILES, RELEASE})


def test_differences_are_told_one_by_one() -> None:
    made = finished({**FILES, "lib/b.py": File(b"")}, "1.0", "3.11", "x86_64", bytecode=False)
    assert differences(made) == []
    damaged = {**made, "lib/a.py": File(b"evil"), "lib/new.py": File(b"")}
    del damaged["lib/b.py"]
    assert differences(damaged) == ["changed: lib/a.py", "missing: lib/b.py", "too many: lib/new.py"]
    assert differences({}) == ["SHA256SUMS is missing"]


@pytest.mark.parametrize("files", [{}, {RELEASE: File(b"{}")}])
def test_what_says_no_release_is_none(files: dict[str, File]) -> None:
    with pytest.raises(AIClientError, match="not a release"):
        release_of(files)


def test_the_sum_of_nothing_is_nothing() -> None:
    assert sums({}) == ""
