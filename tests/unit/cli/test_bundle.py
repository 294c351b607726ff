"""`ai-client bundle` and `ai-client bundle verify`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ai_client.bundle import fetch
from ai_client.cli.group import cli
from tests.wheels import folder_of, wheel

OURS = f"{sys.version_info.major}.{sys.version_info.minor}"
FOREIGN = next(python for python in fetch.PYTHONS if python != OURS)


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = folder_of(tmp_path / "wheels", some=wheel("some", "1.0", {"some.py": "a = 1\n"}))
    monkeypatch.setattr(fetch, "lock", lambda _python: made / "lock.txt")
    monkeypatch.setenv("PATH", str(tmp_path))  # no other Python than the one that is named
    return made


def bundle(*words: str) -> Result:
    return CliRunner().invoke(cli, ["bundle", *words])


def test_a_bundle_is_built_and_verified(wheels: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    built = bundle(
        "--out", f"{out}", "--wheels", f"{wheels}", "--python", OURS, "--interpreter", sys.executable, "--json"
    )
    assert built.exit_code == 0, built.output
    told = json.loads(built.stdout)
    assert told == json.loads((out / "bundle.json").read_bytes())
    assert (out / told["releases"][0]["file"]).stat().st_size == told["releases"][0]["bytes"]
    assert bundle("verify", f"{out}").stdout == f"{out}: sound\n"
    (out / "bundle.json").write_bytes((out / "bundle.json").read_bytes() + b"\n")
    checked = bundle("verify", f"{out}", "--json")
    assert checked.exit_code == 1
    assert json.loads(checked.stdout) == {"sound": False, "problems": ["changed: bundle.json"]}


def test_without_an_interpreter_it_says_what_is_missing(
    wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_client.bundle.assemble.find_interpreter", lambda _python, _given: None)
    built = bundle("--out", f"{tmp_path / 'out'}", "--wheels", f"{wheels}", "--python", FOREIGN, "--arch", "aarch64")
    assert built.exit_code == 0, built.output
    assert f"no Python {FOREIGN} here" in built.stderr
    assert f"-py{FOREIGN}-aarch64.tar.gz  " in built.stdout


def test_folders_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    built = bundle("--out", f"{tmp_path / 'file' / 'out'}")
    assert built.exit_code == 1
    assert built.stderr == f"ai-client: {tmp_path}/file/out: Not a directory\n"


def test_a_bundle_that_may_not_be_read_or_is_damaged_is_said_so(plain_user: None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder, "bundle.json")
        manifest.write_text('{"format": 1, "version": "1", "releases": []}')
        Path(folder, "SHA256SUMS").write_bytes(b"0  caf\xe9\n")
        assert bundle("verify", folder).stdout == "missing: caf\ufffd\n"
        manifest.chmod(0)
        assert bundle("verify", folder).stderr == f"ai-client: {manifest}: Permission denied\n"


def test_where_to_must_be_said() -> None:
    assert "Missing option '--out'" in bundle().stderr
