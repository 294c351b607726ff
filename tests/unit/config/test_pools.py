"""Several keys of one provider: what each inherits, where its key comes from, and who is in the pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.config.load import load, parse_text
from ai_client.config.reference import effective
from ai_client.errors import ConfigurationError

API = (
    "[api]\nprovider = openai\nbase_url = https://api.example.com/v1\nmodels = m=up, n\n[models]\ndefault = m\n"
    "[routing]\nsimple = m\nmoderate = m\ncomplex = m\n[limits]\nrequests_per_minute = 100\n"
)
OWN = f"{API}[api]\napi_key = sk-own\nweight = 3\nsticky_prefix_kb = 2\n"
EU = (
    "[key eu]\nbase_url = https://eu.example.com/v1\napi_key = sk-eu\nrequests_per_minute = 7\n"
    "models = m=deployment, n\n"
)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_text(text, "f.conf")
    assert "sk-" not in str(caught.value)
    return [problem.partition(": ")[2] for problem in caught.value.problems]


def test_without_further_keys_there_is_no_pool() -> None:
    config = parse_text(OWN).config
    assert (config.pools, config.keys) == ({}, {})
    assert config.endpoints == config.providers


def test_a_key_takes_from_its_provider_what_it_does_not_say() -> None:
    config = parse_text(f"{OWN}{EU}[key b]\napi_key = sk-b\nweight = 2\ntokens_per_minute = 0\n").config
    own, eu, b = config.pools["openai"]
    assert [each.name for each in (own, eu, b)] == list(config.endpoints) == ["openai", "openai.eu", "openai.b"]
    assert own is config.providers["openai"]
    assert (own.weight, eu.weight, b.weight, own.sticky_prefix_kb) == (3, 1, 2, 2)
    assert (own.requests_per_minute, eu.requests_per_minute, b.requests_per_minute) == (100, 7, 100)
    assert (own.tokens_per_minute, eu.tokens_per_minute, b.tokens_per_minute) == (100_000, 100_000, 0)
    assert (eu.base_url, b.base_url) == ("https://eu.example.com/v1", "https://api.example.com/v1")
    assert [each.upstream_model("m") for each in (own, eu, b)] == ["up", "deployment", "up"]
    assert [each.upstream_model("n") for each in (own, eu, b)] == ["n", "n", "n"]
    assert config.keys["eu"].provider == "openai"
    assert config.keys["eu"].models == ("m=deployment", "n")


def test_a_provider_without_a_key_of_its_own_is_no_member_beside_those_that_have_one() -> None:
    loaded = parse_text(f"{API}[key a]\napi_key = sk-a\n")
    assert [each.name for each in loaded.config.pools["openai"]] == ["openai.a"]
    assert not [warning for warning in loaded.warnings if "no API key" in warning]
    local = "[provider vllm]\nbase_url = http://127.0.0.1:1/v1\nmodels = x\n[key two]\nprovider = vllm\n"
    config = parse_text(f"{OWN}{local}base_url = http://127.0.0.1:2/v1\n").config
    assert [each.base_url for each in config.pools["vllm"]] == ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]


def test_where_a_key_may_come_from(tmp_path: Path) -> None:
    (tmp_path / "ai-client-api-key-openai.a").write_text("sk-credential\n")
    (tmp_path / "key").write_text("sk-file\n")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "f.conf").write_text(f"{OWN}[key a]\n[key b]\napi_key_file = {tmp_path / 'key'}\n[key c-1]\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "AI_CLIENT_KEY_C_1__API_KEY": "sk-variable"}
    loaded = load(tmp_path / "f.conf", environ)
    found = [each.api_key.reveal() for each in loaded.config.pools["openai"] if each.api_key is not None]
    assert found == ["sk-own", "sk-credential", "sk-file", "sk-variable"]
    assert loaded.origins["key a", "api_key"] == "credential ai-client-api-key-openai.a"
    shown = {(each.section, each.key): each.text for each in effective(loaded)}
    assert shown["key c-1", "api_key"] == "********"
    assert shown["key c-1", "base_url"] == ""
    assert "sk-" not in repr(loaded.config)


def test_all_mistakes_are_told_at_once() -> None:
    assert problems(
        f"{OWN}[key a]\nprovider = opneai\napi_key = sk-a\n[key b]\nmodels = nn\napi_key = sk-b\n"
        "[key c]\n[key d]\napi_key = sk-own\n[key e]\nweight = 0\napi_key = sk-e\n"
        "[provider openai.f]\nbase_url = http://x/v1\nmodels = x\n[key f]\napi_key = sk-f\n"
    ) == [
        "[key a] provider = opneai: there is no such provider; did you mean openai?",
        "[key b] models = nn: its provider does not serve it; did you mean n?",
        "[key c] has no key: give it api_key_file, a credential or the environment",
        "[key d] is openai once more, with its key and base_url: as one key it has its limits once",
        "[key e] weight = 0: expected a whole number from 1 to 1000",
        "[key f] would be called openai.f, as [provider openai.f] is; rename one of the two",
    ]


def test_a_key_file_that_is_missing_is_told_of_once(tmp_path: Path) -> None:
    (told,) = problems(f"{OWN}[key a]\napi_key_file = {tmp_path / 'none'}\n")
    assert told == "[key a] the API key cannot be read: No such file or directory"


def test_a_key_that_is_malformed_is_told_of_once() -> None:
    (told,) = problems(f"{OWN}[key a]\napi_key = two words\n")
    assert told.startswith("[key a] api_key = (hidden): expected one word")


def test_one_place_without_keys_is_not_two() -> None:
    local = "[provider vllm]\nbase_url = http://127.0.0.1:1/v1\nmodels = x\n[key two]\nprovider = vllm\n"
    (told,) = problems(f"{OWN}{local}base_url = http://127.0.0.1:1/v1\n")
    assert "is vllm once more" in told


def test_a_model_that_no_key_may_be_used_for() -> None:
    assert problems(f"{API}[key a]\napi_key = sk-a\nmodels = m\n") == [
        "[api] models = n: none of its keys may be used for it"
    ]
    local = (
        "[provider vllm]\nbase_url = http://127.0.0.1:1/v1\nmodels = x, *\n[key two]\nprovider = vllm\napi_key = k\n"
    )
    assert problems(f"{OWN}{local}models = x\n") == ["[provider vllm] models = *: none of its keys may be used for it"]


def test_a_key_of_a_provider_that_is_wrong_itself_is_not_told_of_twice() -> None:
    (told,) = problems(f"{OWN}[provider vllm]\nmodels = x\n[key two]\nprovider = vllm\napi_key = k\n")
    assert told.startswith("[provider vllm] base_url is missing")


def test_holysheep_s_keys_look_alike_in_every_region() -> None:
    (told,) = problems("[api]\napi_key = hs_a\n[key eu]\nbase_url = https://eu.example.com/v1\napi_key = sk-b\n")
    assert "HolySheep's keys begin with hs_" in told
