"""Whether what was built is still there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ai_client.bundle import archive, release
from ai_client.bundle.release import Archive, File, Manifest
from ai_client.bundle.verify import verify
from ai_client.errors import AIClientError

FILES = release.finished({"lib/a.py": File(b"a = 1\n")}, "1.0", "3.11", "x86_64", bytecode=False)


def _bundle(folder: Path, files: dict[str, File], release_id: str | None = None) -> str:
    """Write a bundle of one release, whose sums are all right; the archive's name."""
    made = release.release_of(FILES)
    name, data = release.archive_name(made), archive.pack(files)
    digest = release.sums({name: File(data)}).partition(" ")[0]
    part = Archive(release_id or made.id, "3.11", "x86_64", bytecode=False, file=name, sha256=digest, bytes=len(data))
    manifest = msgspec.json.encode(Manifest(1, "1.0", [part]))
    (folder / name).write_bytes(data)
    (folder / "bundle.json").write_bytes(manifest)
    (folder / "SHA256SUMS").write_text(release.sums({name: File(data), "bundle.json": File(manifest)}), "ascii")
    return name


def test_a_sound_bundle_is_sound(tmp_path: Path) -> None:
    _bundle(tmp_path, FILES)
    (tmp_path / "ai-client-older.tar.gz").write_bytes(b"an earlier bundle's")
    assert verify(tmp_path) == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), ["missing: {name}"]),
        (lambda path: path.write_bytes(b""), ["changed: {name}", "{name}: not the archive that bundle.json names"]),
        (lambda path: (path.parent / "SHA256SUMS").unlink(), ["missing: SHA256SUMS"]),
    ],
)
def test_a_damaged_bundle_is_told(damage: Callable[[Path], object], said: list[str], tmp_path: Path) -> None:
    name = _bundle(tmp_path, FILES)
    damage(tmp_path / name)
    assert verify(tmp_path) == [line.format(name=name) for line in said]


def test_archives_are_looked_into(tmp_path: Path) -> None:
    name = _bundle(tmp_path, {**FILES, "lib/a.py": File(b"evil()\n")})
    assert verify(tmp_path) == [f"{name}: changed: lib/a.py"]
    name = _bundle(tmp_path, FILES, "1.0-other")
    (problem,) = verify(tmp_path)
    assert problem.endswith("bundle.json says 1.0-other")


def test_an_installed_release_is_compared_with_its_own_sums(tmp_path: Path) -> None:
    for name, file in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(file.data)
    (tmp_path / ".complete").touch()
    assert verify(tmp_path) == []
    (tmp_path / "lib" / "b.py").touch()
    assert verify(tmp_path) == ["too many: lib/b.py"]


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AIClientError, match="nothing to verify there"):
        verify(tmp_path)
    (tmp_path / "bundle.json").write_bytes(b"{}")
    with pytest.raises(AIClientError, match="is damaged"):
        verify(tmp_path)
