"""Who can reach a listener, and its certificate's files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_client.config.exposure import is_loopback, speaks_tls
from ai_client.config.load import load, parse_text
from ai_client.errors import ConfigurationError
from tests.wire import CERTIFICATES

SERVER = CERTIFICATES / "server.pem"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.200.1.1", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("127.example", False),
        ("localhost.example", False),
        ("192.0.2.1", False),
    ],
)
def test_what_stays_on_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("address", "tls"),
    [
        ("unix:/s", False),
        ("127.0.0.1:1", False),
        ("[::1]:1", False),
        ("https://127.0.0.1:1", True),
        ("0.0.0.0:1", True),
        ("[::]:1", True),
        ("https://node:1", True),
    ],
)
def test_what_speaks_tls(address: str, tls: bool) -> None:
    assert speaks_tls(address) is tls


def refusal(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_text(text)
    (problem,) = caught.value.problems
    return problem


def test_the_files_must_be_there_and_be_what_they_should(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    assert "cannot be read: No such file" in refusal(f"[daemon]\ntls_cert = {tmp_path}/a.pem\n")
    assert "expected a file" in refusal(f"[daemon]\ntls_cert = {tmp_path}\n")
    assert "expected a certificate in PEM form" in refusal(f"[daemon]\ntls_cert = {tmp_path}/none.pem\n")
    both = f"[daemon]\ntls_cert = {SERVER}\ntls_key = "
    assert "expected a key in PEM form" in refusal(f"{both}{tmp_path}/none.pem\n")
    assert parse_text(f"{both}\n").config.daemon.tls_key is None
    assert refusal(f"[daemon]\ntls_key = {SERVER}\n").endswith("tls_cert is missing")


def test_a_key_that_anybody_may_read_is_mentioned(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(SERVER.read_bytes())
    key.chmod(0o644)
    text = f"[daemon]\ntls_cert = {SERVER}\ntls_key = {key}\n"
    assert any("holds a key and anybody may read it" in warning for warning in parse_text(text).warnings)
    key.chmod(0o640)
    assert not any("anybody may read" in warning for warning in parse_text(text).warnings)


def test_programs_of_other_users_need_not_read_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root reads everything, so the kernel's refusal is played."""
    loaded = parse_text(f"[daemon]\ntls_cert = {SERVER}\n")

    def refuse(path: Path, **_: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        assert parse_text(f"[daemon]\ntls_cert = {SERVER}\n").config == loaded.config


def test_a_credential_precedes_the_files(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    for name in ("ai-client-tls-cert", "ai-client-tls-key"):
        (credentials / name).write_bytes(SERVER.read_bytes())
    conf = tmp_path / "a.conf"
    conf.write_text(f"[daemon]\ntls_cert = {CERTIFICATES / 'renewed.pem'}\n")
    loaded = load(conf, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert loaded.config.daemon.tls_cert == credentials / "ai-client-tls-cert"
    assert loaded.config.daemon.tls_key == credentials / "ai-client-tls-key"
    assert loaded.origins["daemon", "tls_key"] == "credential ai-client-tls-key"
    assert load(conf, {}).config.daemon.tls_key is None
