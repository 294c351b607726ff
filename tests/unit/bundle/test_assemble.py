"""Making whole releases, and running them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ai_client._version import __version__
from ai_client.bundle import archive, assemble, fetch
from ai_client.bundle.release import File
from ai_client.errors import AIClientError
from tests.wheels import folder_of, wheel

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = folder_of(tmp_path / "wheels", some=wheel("some", "1.0", {"some.py": "a = {'x', 'y', 'z'}\n"}))
    monkeypatch.setattr(fetch, "lock", lambda _python: made / "lock.txt")
    monkeypatch.setattr(assemble, "find_interpreter", lambda python, _given: sys.executable if python == OURS else None)
    return made


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, wheels: Path) -> None:
    for name in ("one", "two"):
        assemble.assemble(tmp_path / name, [(OURS, "x86_64")], wheels)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert len(one) == 4


def test_a_release_runs_where_it_is_put_with_the_system_python_alone(tmp_path: Path, wheels: Path) -> None:
    made = assemble.assemble(tmp_path / "out", [(OURS, "x86_64")], wheels).releases[0]
    files = archive.unpack((tmp_path / "out" / made.file).read_bytes(), made.file)
    for name, file in files.items():
        (tmp_path / "put" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "put" / name).write_bytes(file.data)
    (tmp_path / "link").symlink_to(tmp_path / "put" / "bin" / "ai-client")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ai_client.py").write_text("raise SystemExit('not this one')\n", "ascii")
    told = subprocess.run(
        [sys.executable, "-ISB", str(tmp_path / "link"), "--version"],
        cwd=elsewhere,
        env={**os.environ, "PYTHONPATH": str(elsewhere)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == f"ai-client {__version__}\n"
    assert "lib/some.py" in files
    assert any(name.startswith("lib/__pycache__/some.") for name in files)
    assert not any("/tests/" in name for name in files)


def test_without_such_a_python_there_is_no_bytecode(tmp_path: Path, wheels: Path) -> None:
    foreign = next(python for python in fetch.PYTHONS if python != OURS)
    manifest = assemble.assemble(tmp_path, [(OURS, "x86_64"), (foreign, "aarch64")], wheels)
    told = json.loads((tmp_path / "bundle.json").read_bytes())
    assert [part["bytecode"] for part in told["releases"]] == [True, False]
    assert (told["format"], told["version"]) == (1, __version__)
    files = archive.unpack((tmp_path / manifest.releases[1].file).read_bytes(), "")
    assert not any(name.endswith(".pyc") for name in files)


def test_what_there_is_no_lock_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AIClientError, match=r"no release for Python 3\.9 on x86_64"):
        assemble.assemble(tmp_path, [("3.9", "x86_64")])


def test_an_interpreter_is_believed_only_if_it_is_what_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    liar = tmp_path / "python9.9"
    liar.write_text("#!/bin/sh\necho 9.8\n", "ascii")
    liar.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert assemble.find_interpreter("9.9") is None
    kept = tmp_path / ".pyenv" / "versions" / "9.9.1" / "bin" / "python9.9"
    kept.parent.mkdir(parents=True)
    kept.write_text("#!/bin/sh\necho 9.9\n", "ascii")
    kept.chmod(0o755)
    assert assemble.find_interpreter("9.9") == str(kept)
    assert assemble.find_interpreter(OURS, [sys.executable]) == sys.executable


def test_a_python_that_fails_is_reported() -> None:
    with pytest.raises(AIClientError, match="cannot compile the release"):
        assemble.compiled({"a.py": File(b"")}, shutil.which("false") or "")
