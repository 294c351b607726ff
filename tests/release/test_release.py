"""What is published: reproducible, complete, and checked without a network."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from release.__main__ import ROOT, build, main
from release.check import SUMS, problems, sums
from release.lock import document, project_of, read_lock

PROJECT = project_of((ROOT / "pyproject.toml").read_text())
LOCK = read_lock((ROOT / "requirements" / "dev.txt").read_text())
STAMP = "2026-01-31T12:00:00Z"
SHIPPED = ("src/", "pyproject.toml", "README.md", "LICENSE", "NOTICE", ".gitignore")
A, B = "a" * 64, "b" * 64
SMALL = f"""# a comment
one==1.0 ; python_version < '4' \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via
    #   ai-client (pyproject.toml)
    #   two
two==2.0 \\
    --hash=sha256:{B}
    # via ai-client (pyproject.toml:dev)
three==3 \\
    --hash=sha256:{A}
    # via one
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the working tree that git knows or would take, as a commit of their own."""
    folder = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name.startswith(SHIPPED):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes((ROOT / name).read_bytes())
    return folder


def test_two_builds_are_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        build(source, tmp_path / name, 1_769_860_800)
        for path in source.rglob("*"):
            path.touch()  # another day
    first, second = (sums(tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert first.count("\n") == 2
    (wheel,) = (tmp_path / "first").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "ai_client/cost/prices.toml" in names
    assert "ai_client/py.typed" in names
    assert not [name for name in names if not name.startswith(("ai_client/", "ai_client-"))]


def test_a_lock_is_read() -> None:
    one, two, three = read_lock(SMALL)
    assert (one.name, one.version, one.marker, one.hashes) == ("one", "1.0", "python_version < '4'", (A, B))
    assert one.wanted_by == {"ai-client", "two"}
    assert (set(two.wanted_by), three.name) == ({"ai-client"}, "three")
    for wrong in ("", "one==1.0\n"):
        with pytest.raises(ValueError, match=r"no package|no hash"):
            read_lock(wrong)


def bill(**project: Any) -> dict[str, Any]:
    usual = {"name": "ai-client", "description": "d", "license": "Apache-2.0", "dependencies": ["one>=1"]}
    told: dict[str, Any] = msgspec.json.decode(document({**usual, **project}, read_lock(SMALL), "9", STAMP))
    return told


def test_a_bill_names_what_is_shipped_and_nothing_else() -> None:
    made = bill()
    assert {each["name"]: each["scope"] for each in made["components"]} == dict.fromkeys(("one", "three"), "required")
    assert made["dependencies"] == [
        {"ref": "pkg:pypi/ai-client@9", "dependsOn": ["pkg:pypi/one@1.0"]},
        {"ref": "pkg:pypi/one@1.0", "dependsOn": ["pkg:pypi/three@3"]},
        {"ref": "pkg:pypi/three@3", "dependsOn": []},
    ]
    extra = bill(**{"optional-dependencies": {"x": ["two[three]"]}})
    assert {each["name"]: each["scope"] for each in extra["components"]}["two"] == "optional"
    assert bill() == made
    assert extra["serialNumber"] != made["serialNumber"]
    with pytest.raises(ValueError, match="four is not in the lock"):
        bill(dependencies=["four"])
    with pytest.raises(ValueError, match="asks for no package"):
        bill(dependencies=["["])


def test_the_projects_own_bill() -> None:
    made = msgspec.json.decode(document(PROJECT, LOCK, "1", STAMP))
    scopes = {each["name"]: each["scope"] for each in made["components"]}
    assert {scopes[name] for name in ("click", "httptools", "msgspec", "uvloop")} == {"required"}
    assert scopes["redis"] == scopes["hiredis"] == scopes["openai"] == "optional"
    assert not {"pytest", "ruff", "mypy", "hatchling"} & scopes.keys()


@pytest.fixture
def released(source: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    build(source, folder, 1_769_860_800)
    (folder / "ai_client-1.cdx.json").write_bytes(document(PROJECT, LOCK, "1", STAMP))
    (folder / SUMS).write_text(sums(folder))
    return folder


def test_a_whole_release_has_no_problems(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(released) == []
    monkeypatch.setattr(sys, "argv", ["release", "check", str(released)])
    assert main() == 0
    assert subprocess.run(["sha256sum", "-c", "--quiet", SUMS], cwd=released, check=False).returncode == 0


def test_what_was_changed_is_found(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (wheel,) = released.glob("*.whl")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("ai_client/more.py", "")
    bill_file = released / "ai_client-1.cdx.json"
    made = msgspec.json.decode(bill_file.read_bytes())
    made["components"].pop()["externalReferences"].clear()
    made["components"][0]["externalReferences"].clear()
    bill_file.write_bytes(msgspec.json.encode(made))
    (released / "other.tar.gz").write_bytes(next(released.glob("ai_client*.tar.gz")).read_bytes())
    found = "\n".join(problems(released))
    for part in ("SHA256SUMS does not fit", "is not in its record", "is named and not listed", "has no hash",
                 "neither a file nor below other/", "there is no sdist, or more than one"):  # fmt: skip
        assert part in found
    monkeypatch.setattr(sys, "argv", ["release", "check", str(released)])
    assert main() == 1
    (released / SUMS).unlink()
    assert "run make release" in problems(released)[0]
