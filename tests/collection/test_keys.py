"""Several keys: where each goes, that none is told, and that each can be tried alone."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ai_client.config.load import load
from ansible_collections.ai_client.fleet.plugins.module_utils.spec import read_spec
from ansible_collections.ai_client.fleet.plugins.plugin_utils import configuration, desired
from tests.collection.programs import PROGRAMS, ROOT, need_ansible, surroundings
from tests.collection.test_desired import RELEASE, values
from tests.gateway import child, simulated
from tests.running import Run

SECTIONS = {
    "key second": None,
    "key eu": {"base_url": "https://eu.example.com/v1", "models": "gpt-4.1=gpt-4.1-eu"},
    "provider other": {"base_url": "https://other.example.com/v1", "models": ["small=org/small", "large"]},
    "key b": {"provider": "other", "models": "large"},
    "limit all": {"scope": "provider", "values": "other", "requests": "100/day"},
}
KEYS = {"holysheep.second": "hs_2", "holysheep.eu": "hs_eu", "other": "sk_other", "other.b": "sk_b"}
NEXT = {"holysheep.eu": "hs_eu_next", "other": "sk_other_next", "other.b": "sk_b_next"}


def document(*, coming: bool = False, **given: Any) -> tuple[dict[str, Any], dict[str, str]]:
    given = {"ai_config": SECTIONS, "ai_api_keys": KEYS, "ai_fallback_model": "deepseek-v3.2"} | given
    return desired.document(values(**given), RELEASE, list(desired.ALL_PARTS), "", coming=coming)


def laid_out(folder: Path, files: list[dict[str, Any]], secrets: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """What a process of the unit among these files reads: its configuration, and its environment."""
    by_kind = {each["kind"]: each["content"] for each in files}
    config, handed = folder / "ai-client.conf", folder / "handed"
    config.write_text(by_kind["config"])
    handed.mkdir()
    for line in by_kind["unit"].splitlines():
        if line.startswith("LoadCredential="):
            name, _, path = line.removeprefix("LoadCredential=").partition(":")
            (handed / name).write_text(secrets[path])
            (handed / name).chmod(0o400)
    return config, {"CREDENTIALS_DIRECTORY": str(handed)}


def test_every_key_reaches_its_place_and_no_other(tmp_path: Path) -> None:
    spec, secrets = document()
    assert not [key for key in KEYS.values() if key in repr(spec)]
    files = [each for each in spec["files"] if each["secret"]]
    assert {(each["path"], each["mode"], each["owner"], each["kind"]) for each in files} == {
        (f"/etc/ai-client/credentials/ai-client-api-key{name}", 0o400, "root", "key")
        for name in ("", "-holysheep.second", "-holysheep.eu", "-other", "-other.b")
    }
    config = load(
        *laid_out(tmp_path, [each for each in spec["files"] if not each["path"].endswith(".socket")], secrets)
    )
    told = {name: provider.api_key for name, provider in config.config.endpoints.items()}
    assert {name: key.reveal() for name, key in told.items() if key} == {"holysheep": "hs_secret", **KEYS}


def test_one_key_is_as_it_ever_was() -> None:
    spec, secrets = document(ai_config={}, ai_api_keys={})
    assert spec["credentials"] == {"ai-client-api-key": "/etc/ai-client/credentials/ai-client-api-key"}
    assert secrets == {"/etc/ai-client/credentials/ai-client-api-key": "hs_secret\n"}
    assert spec["trials"] == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"ai_api_keys": {"holysheep.secnd": "sk_canary"}},
            "no place for 'holysheep.secnd': there are other, holysheep.second",
        ),
        (
            {"ai_api_keys": {"x": "sk_canary"}, "ai_config": {}},
            r"no place for 'x': it has no \[provider\] and no \[key\]",
        ),
        ({"ai_api_keys": {"holysheep": "sk_canary"}}, "the key of holysheep is given in ai_api_key$"),
        ({"ai_api_keys": {"other": "sk_canary sk_canary"}}, "the key of other is not one word"),
        ({"ai_api_keys": {"other": ""}}, "the key of other is not one word"),
        (
            {"ai_api_keys_next": {"holysheep": "sk_canary"}},
            "ai_api_keys_next: the key of holysheep .* ai_api_key_next$",
        ),
        ({"ai_api_keys": {}, "ai_api_keys_next": {"other": "sk_canary"}}, "other is not in ai_api_keys: .* deploy"),
    ],
)
def test_a_key_that_nobody_would_read_is_refused_and_not_repeated(given: dict[str, Any], told: str) -> None:
    with pytest.raises(configuration.VariableError, match=told) as caught:
        document(coming=True, **given)
    assert "sk_canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key", "model", "place"),
    [
        ("ai-client-api-key", "hs_next", "holysheep/deepseek-v3.2", "https://api.holysheep.ai/v1"),
        ("ai-client-api-key-holysheep.eu", "hs_eu_next", "holysheep/gpt-4.1", "https://eu.example.com/v1"),
        ("ai-client-api-key-other", "sk_other_next", "other/small", "https://other.example.com/v1"),
        ("ai-client-api-key-other.b", "sk_b_next", "other/large", "https://other.example.com/v1"),
    ],
)
def test_a_key_is_tried_where_no_other_can_answer(tmp_path: Path, name: str, key: str, model: str, place: str) -> None:
    spec, secrets = document(coming=True, ai_api_key_next="hs_next", ai_api_keys_next=NEXT)
    assert [each["key"] for each in spec["trials"]] == [
        "ai-client-api-key",
        *(f"ai-client-api-key-{each}" for each in NEXT),
    ]
    trial = next(each for each in spec["trials"] if each["key"] == name)
    config = load(*laid_out(tmp_path, trial["files"], secrets)).config
    provider, _, asked = trial["model"].partition("/")
    assert trial["model"] == model
    assert [each.api_key.reveal() for each in config.endpoints.values() if each.api_key] == [key]
    assert (config.pools, config.quotas, config.models.fallback) == ({}, {}, ())
    assert (config.providers[provider].base_url, config.providers[provider].api_key is not None) == (place, True)
    upstream = {"holysheep.eu": "gpt-4.1-eu", "other": "org/small"}.get(name.removeprefix("ai-client-api-key-"), asked)
    assert config.providers[provider].upstream_model(asked) == upstream


@pytest.mark.parametrize("models", ["*", ["auto-unlike", "*"]])
def test_a_provider_that_serves_anything_is_asked_for_what_it_names_or_for_the_default(models: Any) -> None:
    sections = {**SECTIONS, "provider other": {"base_url": "https://other.example.com/v1", "models": models}}
    spec, _ = document(coming=True, ai_config=sections, ai_api_keys_next={"other": "sk_next"})
    assert spec["trials"][0]["model"] == ("other/deepseek-v3.2" if models == "*" else "other/auto-unlike")


def test_the_node_reads_what_each_trial_is_to_find() -> None:
    given, secrets = document(coming=True, ai_api_keys_next=NEXT)
    spec = read_spec(given, secrets)
    for each in spec.trials:
        (key,) = [file for file in each.files if file.kind == "key"]
        assert key.content == NEXT[each.key.removeprefix("ai-client-api-key-")] + "\n"
    assert {file.content for file in spec.files if file.kind == "key"} == {
        "hs_secret\n", "hs_2\n", *(f"{key}\n" for key in NEXT.values())
    }  # fmt: skip


@pytest.mark.parametrize("name", ["holysheep.second", "other", "other.b"])
@pytest.mark.parametrize(("accepted", "status"), [("hs_next", 200), ("hs_secret", 401)])
def test_a_daemon_that_has_one_key_answers_with_it_or_not_at_all(
    run: Run, tmp_path: Path, name: str, accepted: str, status: int
) -> None:
    async def scene() -> None:
        async with simulated(keys=(accepted,)) as upstream:
            given = {
                "ai_base_url": upstream.url,
                "ai_metrics_port": 0,
                "ai_log_dir": str(tmp_path / "logs"),
                "ai_cache_dir": str(tmp_path / "cache"),
                "ai_config": {
                    "key second": {},
                    "provider other": {"base_url": upstream.url, "models": "gpt-4.1"},
                    "key b": {"provider": "other"},
                    "costs": {"ledger": "none"},
                },
                "ai_api_keys": {name: "hs_secret"},
                "ai_api_keys_next": {name: "hs_next"},
            }
            spec, secrets = document(coming=True, **given)
            (trial,) = spec["trials"]
            config, environ = laid_out(tmp_path, trial["files"], secrets)
            async with child(config, environ=environ) as daemon, httpx.AsyncClient(timeout=30) as client:
                asked = {"model": trial["model"], "messages": [{"role": "user", "content": "Answer OK."}]}
                answer = await client.post(f"{daemon.url}/v1/chat/completions", json=asked)
                assert answer.status_code == status, answer.text

    run(scene())


def test_no_key_is_shown_however_much_is_asked_for(tmp_path: Path) -> None:
    """The whole way from the variables to the node's answer and back, on this machine, where nothing is changed."""
    need_ansible()
    (tmp_path / "collections").symlink_to(ROOT)
    canaries: dict[str, object] = {"ai_api_key": "hs_canary_1", "ai_api_key_next": "hs_canary_2"}
    canaries |= {
        "ai_api_keys": "{'holysheep.second': 'hs_canary_3'}",
        "ai_api_keys_next": {"holysheep.second": "hs_canary_4"},
    }
    given = {**canaries, "ai_config": {"key second": {}}, "ansible_connection": "local", "ansible_become": False}
    given["ansible_python_interpreter"] = str(PROGRAMS / "python")
    (tmp_path / "given.json").write_text(json.dumps(given))
    (tmp_path / "play.yml").write_text(PLAY)
    words = [
        str(PROGRAMS / "ansible-playbook"),
        "-i",
        "here,",
        "play.yml",
        "-e",
        "@given.json",
        "--check",
        "--diff",
        "-vvvv",
    ]
    done = subprocess.run(words, cwd=tmp_path, env=surroundings(tmp_path), capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 0, told
    assert "hs_canary" not in told
    assert '"ai-client-api-key-holysheep.second"' in told


PLAY = """\
- hosts: all
  gather_facts: false
  tasks:
    - ai_client.fleet.node: {state: proven}
    - ai_client.fleet.node: {state: asked}
      register: asked
    - ansible.builtin.assert:
        that: asked.old_keys == ["ai-client-api-key", "ai-client-api-key-holysheep.second"]
"""
