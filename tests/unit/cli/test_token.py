"""A token is made, and seen nowhere but in its file."""

from __future__ import annotations

import hashlib
import json
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ai_client.cli.group import cli
from ai_client.config.load import parse_text
from ai_client.daemon.auth import Gate
from ai_client.transport.exchange import Request


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["token", *map(str, arguments)])


def test_the_token_opens_the_door_that_its_section_describes(tmp_path: Path) -> None:
    file = tmp_path / "report.token"
    done = invoke("report", "-o", file)
    assert done.exit_code == 0, done.output
    token = file.read_text().strip()
    assert len(token) == 43
    assert token not in done.output
    assert file.stat().st_mode & 0o777 == 0o600
    gate = Gate(parse_text(done.stdout).config.apps)
    request = Request("GET", "/", "", [(b"authorization", f"Bearer {token}".encode())], b"", keep_alive=True)
    assert gate.identify(request).name == "report"
    assert invoke("report", "--from", file).stdout == done.stdout


def test_json_tells_the_hash_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "report.token"
    told = json.loads(invoke("report", "-o", file, "--json").stdout)
    digest = hashlib.sha256(file.read_text().strip().encode()).hexdigest()
    assert told == {"app": "report", "token_sha256": digest, "token_file": str(file)}
    assert json.loads(invoke("report", "--from", file, "--json").stdout) == told


def test_a_full_disk_leaves_no_half_token(tmp_path: Path) -> None:
    file = tmp_path / "report.token"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        done = invoke("report", "-o", file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"ai-client: {file} cannot be written: File too large\n"
    assert not file.exists()


def test_every_token_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("a").stdout != invoke("b").stdout
    assert (tmp_path / "a.token").read_text() != (tmp_path / "b.token").read_text()


def test_an_existing_one_is_hashed(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("mine\n")
    assert hashlib.sha256(b"mine").hexdigest() in invoke("a", "--from", tmp_path / "t").stdout


def test_what_cannot_be_done(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("two words")
    for arguments, says in (
        (("no/name",), "is no app's name"),
        (("a", "-o", tmp_path / "t"), "File exists"),
        (("a", "-o", tmp_path / "none" / "t"), "No such file"),
        (("a", "--from", tmp_path / "t"), "does not hold a key"),
        (("a", "--from", tmp_path / "t", "-o", tmp_path / "u"), "exclude one another"),
    ):
        done = invoke(*arguments)
        assert done.exit_code == 2
        assert says in done.output
    assert (tmp_path / "t").read_text() == "two words"
