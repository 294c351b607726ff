"""The store's users may do what they must."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from importlib import resources
from pathlib import Path

from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.lease import Answer, Ask, Part, StoreAwayError
from tests.collection.programs import PROGRAMS, ansible, need_ansible
from tests.collection.variables import ROLES, defaults
from tests.redis_server import RedisServer, free_port, need_redis, need_tls
from tests.running import Run
from tests.wire import CERTIFICATES

_ASK = Ask("provider:p", "one", (Part(500, 60_000, 10, 5),))


def test_the_clients_may_send_what_their_scripts_send_and_no_more() -> None:
    backends = [each for each in resources.files("ai_client.limits.backends").iterdir() if each.is_file()]
    sources = {each.name: each.read_text("utf-8") for each in backends}
    assert "lease.lua" in sources
    sent = {name.lower() for text in sources.values() for name in re.findall(r"redis\.call\('(\w+)'", text)}
    sent |= {name.lower() for text in sources.values() for name in re.findall(r'_command\("([A-Z]+)"', text)}
    # by these it gets the script there, and connects
    reaching = {"evalsha", "script|load", "hello", "ping"}
    assert set(defaults("quota_store", "vars")["ai_store_client_commands"]) == sent | reaching


def test_they_get_along_with_that(run: Run, tmp_path: Path) -> None:
    need_redis()
    allowed = [f"+{each}" for each in defaults("quota_store", "vars")["ai_store_client_commands"]]

    async def scene() -> None:
        admin = connect(f"unix://{server.socket}")
        await admin.execute_command(
            "ACL", "SETUSER", "quota", "on", ">secret", "resetchannels", "~{ns:*", "-@all", *allowed
        )
        store = RedisStore(connect(server.url.replace("redis://", "redis://quota:secret@")), "ns")
        (answer,) = await store.exchange([_ASK])
        assert answer.members == 1
        await store.tell("p", b"words", 1000)
        assert await store.told("p") == b"words"
        refused = await admin.execute_command("ACL", "LOG")
        await store.close()
        await admin.aclose()
        # the driver introduces itself, which it need not
        assert {bytes(each[b"object"]) for each in refused} <= {b"client|setinfo", b"client"}

    with RedisServer(tmp_path, port=free_port()) as server:
        run(scene())


def written(folder: Path, port: int, watching: int) -> None:
    """What the role writes for three nodes with an address each, in `folder`/NODE, and read there."""
    addresses = {name: f"127.0.0.{place}" for place, name in enumerate("abc", 1)}
    given = {f"ai_store_{name}_password": f"{name}-has-16-letters" for name in ("client", "replica", "sentinel")}
    given |= {"ai_store_port": str(port), "ai_store_sentinel_port": str(watching)}
    hosts = {
        name: {"ansible_connection": "local", "ai_store_hosts": list(addresses), "ai_store_address": address, **given}
        for name, address in addresses.items()
    }
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "group_vars").mkdir()
    shutil.copy(ROLES / "quota_store" / "defaults" / "main.yml", folder / "group_vars" / "all.yml")
    template = {
        "src": f"{ROLES}/quota_store/templates/{{{{ item }}}}.j2",
        "dest": "{{ inventory_hostname }}/{{ item }}",
    }
    files = ["server.conf", "server.acl", "sentinel.conf", "sentinel.acl"]
    play = {"hosts": "a,b", "gather_facts": False, "tasks": [{"ansible.builtin.template": template, "loop": files}]}
    play["vars_files"] = [f"{ROLES}/quota_store/vars/main.yml"]
    (folder / "play.yml").write_text(json.dumps([play]))
    for name in "ab":
        (folder / name / "server").mkdir(parents=True)
        (folder / name / "sentinel").mkdir()
    python = f"ansible_python_interpreter={PROGRAMS / 'python'}"
    ansible(folder, "ansible-playbook", "-i", "hosts.yml", "-e", python, "play.yml")
    for name in "ab":
        here = folder / name
        for path in here.glob("*.*"):
            text = re.sub(r"\S*/(?:key|cert)[.]pem", str(CERTIFICATES / "server.pem"), path.read_text("utf-8"))
            text = re.sub(r"\S*/ca[.]pem", str(CERTIFICATES / "ca.pem"), text)
            text = re.sub(r"/run/credentials/[\w.-]+|/var/lib/ai-client-store", str(here), text)
            path.write_text(text.replace("bind * -::*", f"bind {addresses[name]}"))


def test_what_the_role_writes_is_a_watched_store_for_the_clients(run: Run, tmp_path: Path) -> None:
    need_ansible()
    need_tls(tmp_path)
    port, watching = free_port(), free_port()
    written(tmp_path, port, watching)

    def server(node: str, part: str, state: str) -> RedisServer:
        start = tmp_path / node / part / "state.conf"
        start.write_text(state)
        words = ["--sentinel"] if part == "sentinel" else ["--repl-diskless-sync-delay", "0"]
        words += ["--include", f"{tmp_path / node / part}.conf"]
        return RedisServer(tmp_path / node / part, *words, config=start)

    async def scene() -> None:
        url = f"rediss+sentinel://ai-client:client-has-16-letters@127.0.0.1:{watching}/ai-client-quota"
        store = RedisStore(connect(url, str(CERTIFICATES / "ca.pem")), "ai-client")
        answers: list[Answer] = []
        while not answers:
            with contextlib.suppress(StoreAwayError):  # the replica is not there yet: its primary takes no writes alone
                answers = await store.exchange([_ASK])
        assert answers[0].members == 1
        await store.close()

    with (
        server("a", "server", ""),
        server("b", "server", f"replicaof 127.0.0.1 {port}\n"),
        server(
            "a", "sentinel", f"sentinel resolve-hostnames yes\nsentinel monitor ai-client-quota 127.0.0.1 {port} 2\n"
        ),
    ):
        run(scene())
