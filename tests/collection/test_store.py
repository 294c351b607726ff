"""The store's users may do what they must."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.lease import Ask, Part
from tests.collection.variables import defaults
from tests.redis_server import RedisServer, free_port, need_redis
from tests.running import Run

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
