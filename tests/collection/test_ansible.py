"""The inventories that are shown, and the collection as a file, by Ansible's own programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.collection.programs import PROGRAMS, ROOT, ansible, need_ansible
from tests.collection.variables import ROLES


@pytest.fixture(autouse=True)
def _ansible() -> None:
    need_ansible()


def listed(folder: Path, name: str) -> dict[str, Any]:
    """An inventory as Ansible reads it."""
    told: dict[str, Any] = json.loads(
        ansible(folder, "ansible-inventory", "-i", str(ROOT / "inventory" / name), "--list")
    )
    return told


def plain(hosts: dict[str, dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Every host's variables as text: in INI a lower-case `true` is one."""
    return {host: {name: str(value).lower() for name, value in each.items()} for host, each in hosts.items()}


@pytest.mark.parametrize(
    ("ini", "yaml"),
    [
        ("production/hosts.ini", "production/hosts.yml"),
        ("examples/zones.ini", "examples/zones.yml"),
        ("examples/workers.ini", "examples/workers.yml"),
    ],
)
def test_an_inventory_says_the_same_in_both_languages(tmp_path: Path, ini: str, yaml: str) -> None:
    ours, theirs = listed(tmp_path, ini), listed(tmp_path, yaml)
    assert plain(ours["_meta"]["hostvars"])
    assert plain(ours["_meta"]["hostvars"]) == plain(theirs["_meta"]["hostvars"])
    assert {name: sorted(each.get("hosts", [])) for name, each in ours.items()} == {
        name: sorted(each.get("hosts", [])) for name, each in theirs.items()
    }


def test_fifty_workers_are_fifty(tmp_path: Path) -> None:
    hosts = listed(tmp_path, "examples/workers.yml")["_meta"]["hostvars"]
    assert sorted(hosts) == [f"worker{number:02}" for number in range(1, 51)]


def test_keys_are_read_from_a_vault_and_with_its_password_only(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "inventory" / "examples" / "vault", tmp_path / "inventory")
    variables = tmp_path / "inventory" / "group_vars" / "production"
    (variables / "vault.yml.example").rename(variables / "vault.yml")
    (tmp_path / "password").write_text("a password")
    ansible(tmp_path, "ansible-vault", "encrypt", "--vault-password-file", "password", str(variables / "vault.yml"))
    asked = ("web-02", "-i", "inventory/hosts.yml", "-m", "debug", "-a", "msg={{ ai_api_key }},{{ ai_api_keys }}")
    told = ansible(tmp_path, "ansible", *asked, "--vault-password-file", "password")
    assert "hs_put_in_the_key,{'holysheep.second': 'hs_put_in_another_key'}" in told
    with pytest.raises(AssertionError, match="vault"):
        ansible(tmp_path, "ansible", *asked)


@pytest.mark.parametrize("place", ["site/files", "inventory"])
def test_a_file_is_found_beside_what_was_asked_for(tmp_path: Path, place: str) -> None:
    """The playbook that is run imports one of the collection's, which is where Ansible itself would look."""
    (tmp_path / "collections").symlink_to(ROOT)
    for folder in ("site/files", "inventory"):
        (tmp_path / folder).mkdir(parents=True)
    python = PROGRAMS / "python"
    (tmp_path / "inventory" / "hosts").write_text(
        f"here ansible_connection=local ansible_become=false ansible_python_interpreter={python}\n"
    )
    (tmp_path / "site" / "play.yml").write_text("- import_playbook: ai_client.fleet.uninstall\n")
    words = ("-i", "inventory/hosts", "site/play.yml", "--check", "-e", "ansible_become=false")
    with pytest.raises(AssertionError, match=r"there is no file ca\.pem"):
        ansible(tmp_path, "ansible-playbook", *words, "-e", "ai_custom_ca=ca.pem")
    (tmp_path / place / "ca.pem").write_text("PEM")
    assert "failed=0" in ansible(tmp_path, "ansible-playbook", *words, "-e", "ai_custom_ca=ca.pem")


def test_the_collection_is_built_installed_and_run_from_its_file(tmp_path: Path) -> None:
    ansible(tmp_path, "ansible-galaxy", "collection", "build", str(ROLES.parent), "--output-path", str(tmp_path))
    (archive,) = tmp_path.glob("ai_client-fleet-*.tar.gz")
    ansible(tmp_path, "ansible-galaxy", "collection", "install", str(archive), "--offline")
    installed = tmp_path / "collections" / "ansible_collections" / "ai_client" / "fleet"
    assert (installed / "roles" / "quota_store" / "tasks" / "main.yml").exists()
    modules = sorted(path.stem for path in (installed / "plugins" / "modules").glob("*.py"))
    # as text: asked for JSON, it passes over what it cannot show
    told = ansible(tmp_path, "ansible-doc", "-t", "module", *(f"ai_client.fleet.{each}" for each in modules))
    assert all(f"ai_client.fleet.{each}" in told for each in modules)
    # the role `monitoring` touches files only, so it can be run right here, as whoever runs the tests
    inventory = tmp_path / "hosts"
    inventory.write_text(
        "[ai_api_clients]\nnode01 ansible_host=10.0.0.1 ai_metrics_host=10.0.0.1\n[ai_monitoring]\n"
        f"here ansible_connection=local ansible_become=false ansible_python_interpreter={PROGRAMS / 'python'}\n"
    )
    places = {"targets_file": "targets.json", "rules_file": "rules.yml", "dashboard_file": "board.json"}
    given = {f"ai_monitoring_{name}": str(tmp_path / file) for name, file in places.items()}
    words = ("ai_client.fleet.monitoring", "-i", str(inventory), "-e", json.dumps({**given, "ansible_become": False}))
    assert "failed=0" in ansible(tmp_path, "ansible-playbook", *words)
    assert json.loads((tmp_path / "targets.json").read_text("utf-8")) == [
        {"labels": {"node": "node01"}, "targets": ["10.0.0.1:9090"]}
    ]
    assert "{{ $labels.node }} does not tell its metrics" in (tmp_path / "rules.yml").read_text("utf-8")
