"""`ai-client config`: check, show, keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ai_client.cli.group import cli
from ai_client.config.reference import markdown

GOOD = "[api]\ntimeout = 3\napi_key = hs_secret_0123\n[models]\ndefault = gpt-4.1\n[app a]\nuid = 1\n"
BAD = "[api]\ntimeout = soon\ntimeot = 3\napi_key = secret\n"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AI_CLIENT_CONFIG", "HOLYSHEEP_API_KEY", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A configuration without a mistake."""
    path = tmp_path / "ai-client.conf"
    path.write_text(GOOD)
    return path


def config(*args: str | Path) -> Result:
    return CliRunner().invoke(cli, ["config", *map(str, args)])


def parsed(result: Result) -> Any:
    return json.loads(result.stdout)


def test_check_says_what_it_found(path: Path) -> None:
    result = config("check", path)
    assert result.exit_code == 0
    assert result.stdout == f"ok: 4 keys from {path}, 1 provider, 1 app, 0 warnings\n"
    key = path.with_name("key")
    key.write_text("hs_secret_0123")
    key.chmod(0o600)
    beside = path.with_name("beside.conf")
    beside.write_text(f"[api]\napi_key_file = {key}\n")
    expected = f"ok: 1 key from file {key}, 1 key from {beside}, 1 provider, 0 apps, 0 warnings\n"
    assert config("check", beside).stdout == expected
    assert config("check", "--config", path).stdout == result.stdout
    assert CliRunner().invoke(cli, ["--config", str(path), "config", "check"]).stdout == result.stdout


def test_check_prints_every_mistake(path: Path) -> None:
    path.write_text(BAD)
    result = config("check", path)
    assert result.exit_code == 2
    *problems, summary = result.stdout.splitlines()
    assert [problem.partition(": ")[0] for problem in problems] == [f"{path}:{line}" for line in (2, 3, 4)]
    assert summary == "3 mistakes: not usable"
    assert "secret" not in result.output


def test_check_counts_layers_and_warnings(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("[api]\ntimeout = 3\n")
    monkeypatch.setenv("AI_CLIENT_API__MAX_RETRIES", "1")
    warning, summary = config("check", path).stdout.splitlines()
    assert warning.startswith("warning: provider holysheep: no API key")
    assert summary == f"ok: 1 key from {path}, 1 key from env AI_CLIENT_API__MAX_RETRIES, 1 provider, 0 apps, 1 warning"


def test_check_of_an_empty_file_finds_only_defaults(path: Path) -> None:
    path.write_text("")
    assert "ok: defaults only, 1 provider" in config("check", path).stdout


def test_check_for_programs(path: Path) -> None:
    assert parsed(config("check", path, "--json")) == {"ok": True, "problems": [], "warnings": []}
    path.write_text(BAD)
    result = config("check", path, "--json")
    assert result.exit_code == 2
    assert parsed(result)["ok"] is False
    assert len(parsed(result)["problems"]) == 3


def test_show_prints_values_with_their_origin_and_no_secret(path: Path) -> None:
    result = config("show", "--config", path)
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert f"timeout = 3 # {path}:2" in lines
    assert f"api_key = ******** # {path}:3" in lines
    assert "max_retries = 3 # default" in lines
    assert "[app a]" in lines
    assert "secret" not in result.output


def test_show_for_programs(path: Path) -> None:
    values = parsed(config("show", "--config", path, "--json"))
    assert values["api"]["timeout"] == {"value": 3.0, "origin": f"{path}:2"}
    assert values["api"]["api_key"]["value"] == "********"
    assert values["app a"]["uid"]["value"] == 1


def test_show_refuses_what_check_refuses(path: Path) -> None:
    path.write_text(BAD)
    result = config("show", "--config", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 3


def test_keys_explains_every_key() -> None:
    result = config("keys")
    assert result.exit_code == 0
    assert "[provider NAME]\n" in result.stdout
    assert "  timeout = 30\n      What one attempt may take" in result.stdout
    assert "      number (seconds): a number from 0.001 to 86400\n" in result.stdout
    rows = parsed(config("keys", "--json"))
    assert {"section", "key", "type", "unit", "default", "allowed", "secret", "also", "meaning"} == set(rows[0])


def test_keys_makes_the_reference_page() -> None:
    assert config("keys", "--markdown").stdout == markdown()
