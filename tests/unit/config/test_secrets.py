"""Secrets do not print themselves, and keys are found in the documented order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from ai_client.config.load import Loaded, load
from ai_client.config.secrets import Secret, credential_file, read_key_file, readable_by_others
from ai_client.errors import ConfigurationError

KEY = "hs_test_0123456789"


def problems(path: Path, environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ)
    assert KEY not in str(caught.value)
    return caught.value.problems


def key_of(loaded: Loaded, provider: str = "holysheep") -> str | None:
    secret = loaded.config.providers[provider].api_key
    return secret.reveal() if secret else None


def test_a_secret_shows_a_mask_and_compares_by_its_text() -> None:
    secret = Secret(KEY)
    assert f"{secret} {secret!r} {[secret]}" == "******** Secret(********) [Secret(********)]"
    assert secret.reveal() == KEY
    assert secret == Secret(KEY)
    assert secret != Secret("other")
    assert secret != KEY
    assert len({secret, Secret(KEY)}) == 1


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A configuration with a key in every place; each test takes some away."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ai-client-api-key").write_text("hs_credential\n")
    (tmp_path / "key").write_text(" hs_file \n")
    (tmp_path / "key").chmod(0o600)
    path = tmp_path / "ai-client.conf"
    path.write_text(f"[api]\napi_key = hs_inline\napi_key_file = {tmp_path}/key\n")
    environ = {
        "CREDENTIALS_DIRECTORY": str(credentials),
        "HOLYSHEEP_API_KEY": "hs_general",
        "AI_CLIENT_API__API_KEY": "hs_own",
    }
    return path, environ


def test_keys_are_found_in_the_documented_order(sources: tuple[Path, dict[str, str]]) -> None:
    path, environ = sources
    found = []
    for take_away in (
        lambda: None,
        lambda: environ.pop("CREDENTIALS_DIRECTORY"),
        lambda: path.write_text("[api]\napi_key = hs_inline\n"),
        lambda: environ.pop("AI_CLIENT_API__API_KEY"),
        lambda: environ.pop("HOLYSHEEP_API_KEY"),
    ):
        take_away()
        loaded = load(path, environ)
        found.append((key_of(loaded), loaded.origins["api", "api_key"]))
        assert loaded.config.api.api_key == loaded.config.providers["holysheep"].api_key
    assert found == [
        ("hs_credential", "credential ai-client-api-key"),
        ("hs_file", f"file {path.parent}/key ({path}:3)"),
        ("hs_own", "env AI_CLIENT_API__API_KEY"),
        ("hs_general", "env HOLYSHEEP_API_KEY"),
        ("hs_inline", f"{path}:2"),
    ]


def test_a_key_that_the_program_gives_goes_before_all_that_the_node_has(sources: tuple[Path, dict[str, str]]) -> None:
    path, environ = sources
    loaded = load(path, environ, {"api": {"api_key": "hs_given"}})
    assert (key_of(loaded), loaded.origins["api", "api_key"]) == ("hs_given", "given")
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ, {"api": {"api_key": KEY.removeprefix("hs_"), "timeout": "-1"}})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["given", "given"]


def test_empty_variables_count_as_not_set(sources: tuple[Path, dict[str, str]]) -> None:
    path, _ = sources
    path.write_text("[api]\napi_key = hs_inline\n")
    environ = {"HOLYSHEEP_API_KEY": "", "AI_CLIENT_API__API_KEY": "", "CREDENTIALS_DIRECTORY": ""}
    assert key_of(load(path, environ)) == "hs_inline"


def test_a_further_provider_has_a_credential_and_a_variable_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text("[provider my-lab]\nbase_url = http://127.0.0.1:1/v1\nmodels = *\n")
    environ = {"HOLYSHEEP_API_KEY": "hs_general", "AI_CLIENT_PROVIDER_MY_LAB__API_KEY": "any-shape"}
    loaded = load(path, environ)
    assert key_of(loaded, "my-lab") == "any-shape"
    (tmp_path / "ai-client-api-key-my-lab").write_text("other-shape")
    loaded = load(path, environ | {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert key_of(loaded, "my-lab") == "other-shape"
    assert loaded.origins["provider my-lab", "api_key"] == "credential ai-client-api-key-my-lab"
    assert key_of(load(path, {"HOLYSHEEP_API_KEY": "hs_general"}), "my-lab") is None


def test_holysheeps_key_is_never_given_to_another_provider(tmp_path: Path) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text("[api]\nprovider = other\nbase_url = http://127.0.0.1:1/v1\n")
    assert key_of(load(path, {"HOLYSHEEP_API_KEY": KEY}), "other") is None
    environ = {"HOLYSHEEP_API_KEY": KEY, "AI_CLIENT_API__PROVIDER": "holysheep"}
    assert key_of(load(path, environ)) == KEY


@pytest.mark.parametrize("key", ["sk-0123456789abcdef", "YOUR_HOLYSHEEP_API_KEY", "hs_", "HS_test_0123456789"])
def test_a_malformed_holysheep_key_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text(f"[api]\napi_key = {key}\n")
    (problem,) = problems(path, {})
    assert problem.startswith(f"{path}:2: [api] api_key: HolySheep's keys begin with hs_")
    assert "provider = " in problem
    if key != "hs_":
        assert key not in problem


def test_holysheep_is_known_by_its_host_too(tmp_path: Path) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text("[provider second]\nbase_url = https://eu.holysheep.ai/v1\nmodels = *\napi_key = sk-0123456789\n")
    (problem,) = problems(path, {})
    assert problem.startswith(f"{path}:4: [provider second] api_key: HolySheep's keys begin with hs_")


def test_another_providers_key_may_have_any_shape(tmp_path: Path) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text("[api]\nprovider = other\nbase_url = https://llm.example.com/v1\napi_key = sk-0123456789\n")
    assert key_of(load(path, {}), "other") == "sk-0123456789"


@pytest.mark.parametrize("key", [f"{KEY} {KEY}", f"{KEY}\x07", f"{KEY}\N{LATIN SMALL LETTER E WITH ACUTE}"])
def test_keys_with_blanks_or_strange_characters_are_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text(f"[api]\napi_key = {key}\n")
    (problem,) = problems(path, {})
    assert problem.startswith(f"{path}:2: ")
    (from_variable,) = problems(tmp_path / "none", {"HOLYSHEEP_API_KEY": key})[-1:]
    assert from_variable.startswith("env HOLYSHEEP_API_KEY: [api] api_key = (hidden): ")


def test_a_source_that_cannot_be_used_is_a_mistake_even_if_another_one_could(tmp_path: Path) -> None:
    path = tmp_path / "ai-client.conf"
    path.write_text(f"[api]\napi_key = hs_inline\napi_key_file = {tmp_path}/missing\n")
    (problem,) = problems(path, {})
    assert problem == (
        f"file {tmp_path}/missing ({path}:3): [api] the API key cannot be read: No such file or directory"
    )
    (tmp_path / "ai-client-api-key").write_text("two words")
    (problem,) = problems(path, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert problem.startswith("credential ai-client-api-key: [api] the API key does not hold a key: expected one word")


def test_key_files_must_be_small_regular_files_of_ascii(tmp_path: Path) -> None:
    for content in (b"", b"\xff\xfe", b"x" * 5000, b"a\x00b"):
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ValueError, match="does not hold a key"):
            read_key_file(tmp_path / "key")
    with pytest.raises(ValueError, match="not a regular file"):
        read_key_file(tmp_path)


def test_a_credential_that_may_not_be_looked_at_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert credential_file("name", {"CREDENTIALS_DIRECTORY": str(tmp_path / "file")}) == tmp_path / "file" / "name"
    assert credential_file("name", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None


@pytest.mark.parametrize("section", ["api", "key second"])
def test_a_key_of_others_is_no_mistake_of_who_needs_none(plain_user: None, section: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        key, path = Path(folder, "key"), Path(folder, "ai-client.conf")
        key.write_text("hs_a")
        key.chmod(0)
        path.write_text(f"[{section}]\napi_key_file = {key}\n")
        told = f"file {key} ({path}:2): [{section}] the API key cannot be read: Permission denied"
        with pytest.raises(ConfigurationError) as caught:
            load(path, {"HOLYSHEEP_API_KEY": "hs_b"})
        assert caught.value.problems == (told,)
        loaded = load(path, {"HOLYSHEEP_API_KEY": "hs_b"}, keys=False)
        assert loaded.warnings == (told,)
        assert loaded.origins[section, "api_key"] == f"file {key} ({path}:2)"


def test_a_key_file_that_anybody_may_read_is_doubtful(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o644)
    path = tmp_path / "ai-client.conf"
    path.write_text(f"[api]\napi_key_file = {key}\n")
    assert load(path, {}).warnings == (f"{path}:2: {key} holds a key and anybody may read it: chmod o-r",)
    key.chmod(0o640)
    assert load(path, {}).warnings == ()
    assert not readable_by_others(tmp_path / "missing")
