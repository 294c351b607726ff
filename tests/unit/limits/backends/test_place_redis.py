"""What only the places on Redis do: a script that was forgotten, a server that is away, keys of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.limits.backends.place_redis import RedisPlaces
from ai_client.limits.backends.redis import connect
from ai_client.limits.lease import StoreAwayError
from ai_client.limits.places import PlaceAsk
from tests.redis_server import RedisServer, free_port, need_redis
from tests.running import Run

ASK = PlaceAsk("limit:a:b", "n", 5, want=3, held=3)


def test_a_script_that_was_forgotten_is_told_again_by_a_user_that_may_do_little(run: Run, tmp_path: Path) -> None:
    rule = "on >secret ~{ns:* -@all +evalsha +script|load +@hash +@sortedset +del +pexpire +time +hello +client"

    async def scene() -> None:
        admin = connect(f"unix://{server.socket}")
        await admin.execute_command("ACL", "SETUSER", "quota", *rule.split())
        client = connect(server.url.replace("redis://", "redis://quota:secret@"))
        store = RedisPlaces(client, "ns")
        (answer,) = await store.exchange([ASK])
        assert (answer.places, answer.members) == (3, 1)
        await admin.script_flush()
        first, second = await store.exchange([ASK, ASK])
        assert (first, second) == (answer, answer)
        assert all(key.startswith(b"{ns:places:limit:a:b}:") for key in await admin.keys())
        await client.aclose()
        await admin.aclose()

    need_redis()
    with RedisServer(tmp_path, port=free_port()) as server:
        run(scene())


def test_a_server_that_is_away_is_said_to_be(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        client = connect(server.url)
        with pytest.raises(StoreAwayError, match="ConnectionError"):
            await RedisPlaces(client, "ns").exchange([ASK])
        await client.aclose()

    need_redis()
    server = RedisServer(tmp_path)
    run(scene())
