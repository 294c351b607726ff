"""What a lab consists of and how it is told to ssh and Ansible; the machine is not touched."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest

from lab.plan import LabError, inventory_ini, inventory_yaml, plan, ssh_config, weather

HERE = Path("/srv/lab")


def test_suites_take_turns() -> None:
    assert [node.suite for node in plan(HERE, 3).nodes] == ["bookworm", "trixie", "bookworm"]
    assert {node.suite for node in plan(HERE, 3, ["trixie"]).nodes} == {"trixie"}


def test_every_node_has_a_name_and_a_benchmark_address_of_its_own() -> None:
    nodes = plan(HERE, 500, jump=True).everyone
    assert len({node.name for node in nodes}) == len({node.address for node in nodes}) == 501
    assert all(ipaddress.ip_address(node.address) in ipaddress.ip_network("198.18.0.0/15") for node in nodes)
    assert max(len(node.cable) for node in nodes) <= 15  # what the kernel allows


def test_two_folders_are_two_labs() -> None:
    assert plan(HERE, 1).namespace() != plan(HERE / "other", 1).namespace()
    lab = plan(HERE, 2)
    assert lab.namespace(lab.nodes[0]) != lab.namespace(lab.nodes[1])


@pytest.mark.parametrize("count", [0, 501])
def test_a_lab_has_bounds(count: int) -> None:
    with pytest.raises(LabError, match="1 to 500"):
        plan(HERE, count)


@pytest.mark.parametrize("suites", [[], ["sarge"]])
def test_an_unknown_suite_is_refused(suites: list[str]) -> None:
    with pytest.raises(LabError, match="choose from bookworm, trixie"):
        plan(HERE, 1, suites)


def _as_ssh_reads_it(folder: Path, host: str, *, jump: bool) -> dict[str, str]:
    (folder / "ssh_config").write_text(ssh_config(plan(folder, 2, jump=jump)), "ascii")
    told = subprocess.run(
        ["ssh", "-F", str(folder / "ssh_config"), "-G", host], capture_output=True, text=True, check=True
    ).stdout
    return dict(line.split(" ", 1) for line in told.splitlines() if " " in line)


def test_ssh_knows_the_nodes_by_name_and_address(tmp_path: Path) -> None:
    for host in ("node02", "198.18.1.2"):
        told = _as_ssh_reads_it(tmp_path, host, jump=False)
        assert told["hostname"] == "198.18.1.2"
        assert told["hostkeyalias"] == "node02"
        assert told["identityfile"] == f"{tmp_path}/id"
        assert "proxycommand" not in told


def test_ssh_goes_through_the_jump_host(tmp_path: Path) -> None:
    assert _as_ssh_reads_it(tmp_path, "node01", jump=True)["proxycommand"].endswith("-W 198.18.1.1:22 jump")
    assert "proxycommand" not in _as_ssh_reads_it(tmp_path, "jump", jump=True)


def test_the_inventories_name_the_nodes_and_not_the_jump_host() -> None:
    lab = plan(HERE, 2, jump=True)
    assert inventory_ini(lab).splitlines() == [
        "[ai_api_clients]",
        "node01 ansible_host=198.18.1.1",
        "node02 ansible_host=198.18.1.2",
        "",
        "[ai_api_clients:vars]",
        "ansible_user=root",
        "ansible_python_interpreter=/usr/bin/python3",
        "ansible_ssh_common_args='-F /srv/lab/ssh_config'",
        "ansible_control_path_dir=/srv/lab/connections",
    ]
    assert "      ansible_host: 198.18.1.2\n  vars:\n    ansible_user: root\n" in inventory_yaml(lab)
    assert "jump" not in inventory_yaml(lab)


def test_weather_in_words_of_netem() -> None:
    assert weather(40, 0.5) == ["delay", "40ms", "loss", "0.5%"]
    assert weather(0, 0) == []


@pytest.mark.parametrize(("delay", "loss"), [(-1, 0), (0, 101)])
def test_impossible_weather_is_refused(delay: float, loss: float) -> None:
    with pytest.raises(LabError, match="0 to"):
        weather(delay, loss)
