"""What only the store on Redis does: ways to reach one, a script that it forgot, a server that is away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.lease import Ask, Part, StoreAwayError
from tests.redis_server import RedisServer, free_cluster_port, free_port, need_redis, need_tls
from tests.running import Run
from tests.wire import CERTIFICATES

ASK = Ask("provider:p", "a", (Part(600, 60_000, 10, 5),))


@pytest.fixture(autouse=True)
def _redis() -> None:
    need_redis()


async def works(url: str, authorities: str | None = None) -> None:
    store = RedisStore(connect(url, authorities), "ns")
    try:
        (answer,) = await store.exchange([ASK])
        assert answer.members == 1
        (answer,) = await store.exchange([ASK])
        assert answer.step == 2
        await store.tell("p", b"words", 60_000)
        assert await store.told("p") == b"words"
    finally:
        await store.close()


def test_a_socket_and_the_server_s_own_clock(run: Run, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        run(works(server.url))


def test_a_user_that_may_do_no_more_than_it_has_to(run: Run, tmp_path: Path) -> None:
    rule = (
        "on >secret ~{ns:* -@all +evalsha +script|load +@hash +@sortedset +del +pexpire +time +get +set +hello +client"
    )

    async def scene() -> None:
        admin = connect(f"unix://{server.socket}")
        await admin.execute_command("ACL", "SETUSER", "quota", *rule.split())
        await admin.aclose()
        await works(server.url.replace("redis://", "redis://quota:secret@"))

    with RedisServer(tmp_path, port=free_port()) as server:
        run(scene())


def test_a_script_that_was_forgotten_is_told_again(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        client = connect(server.url)
        store = RedisStore(client, "ns")
        await store.exchange([ASK])
        await client.script_flush()
        first, second = await store.exchange([ASK, ASK])
        assert (first.step, second.step) == (2, 3)
        await store.close()

    with RedisServer(tmp_path) as server:
        run(scene())


def test_nothing_is_kept_for_good(run: Run, tmp_path: Path) -> None:
    """Whatever comes to be between two sweeps: shares, turns, hunger, pauses."""

    async def scene() -> None:
        client = connect(server.url)
        store = RedisStore(client, "ns", lambda: now)
        now = 10**12
        wants = Ask("provider:p", "b", (Part(600, 60_000, 10, 5, 5),), pauses=(("p/m", 60_000),))
        for ask, after in ((ASK, 0), (ASK, 2_000), (ASK, 500), (wants, 100), (ASK, 100), (wants, 0)):
            now += after
            await store.exchange([ask])
        kept = [key async for key in client.scan_iter()]
        assert len(kept) == 7
        assert [key for key in kept if not 0 < await client.pttl(key) <= 2 * 86_400_000] == []
        await store.close()

    with RedisServer(tmp_path) as server:
        run(scene())


def test_a_server_that_is_away_is_said_to_be(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        store = RedisStore(connect(server.url), "ns")
        with pytest.raises(StoreAwayError, match="ConnectionError"):
            await store.exchange([ASK])
        server.start()
        await store.exchange([ASK])
        server.kill()
        with pytest.raises(StoreAwayError):
            await store.exchange([ASK])
        server.start()
        (answer,) = await store.exchange([ASK])
        assert answer.step == 1, "it has forgotten everything"
        await store.close()

    server = RedisServer(tmp_path)
    try:
        run(scene())
    finally:
        server.kill()


def test_keys_that_hold_something_else_are_an_error_that_is_told(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        client = connect(server.url)
        await client.set("{ns:provider:p}:state", "mine")
        store = RedisStore(client, "ns")
        with pytest.raises(StoreAwayError, match="WRONGTYPE"):
            await store.exchange([ASK])
        await store.close()

    with RedisServer(tmp_path) as server:
        run(scene())


def test_a_cluster(run: Run, tmp_path: Path) -> None:
    port = free_cluster_port()
    options = ("--cluster-enabled", "yes", "--cluster-config-file", str(tmp_path / "nodes.conf"))
    with RedisServer(tmp_path, *options, port=port) as server:

        async def scene() -> None:
            client = connect(server.url)
            await client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":  # noqa: ASYNC110  it tells nobody
                await asyncio.sleep(0)
            await client.aclose()
            await works(f"redis+cluster://127.0.0.1:{port}")

        run(scene())


def test_sentinels(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sentinel").mkdir()
    with RedisServer(tmp_path, port=free_port()) as server:
        watch = tmp_path / "sentinel.conf"
        port = free_port()
        watch.write_text(f"port {port}\nsentinel monitor quota 127.0.0.1 {server.port} 1\n")
        with RedisServer(tmp_path / "sentinel", "--sentinel", port=port, config=watch):
            run(works(f"redis+sentinel://127.0.0.1:{port}/quota"))


def test_a_sentinel_that_is_dead_is_asked_once_and_then_the_next(run: Run, tmp_path: Path) -> None:
    (tmp_path / "sentinel").mkdir()
    asked: list[int] = []

    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(1)
        writer.close()

    async def scene() -> None:
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as dead:
            first = dead.sockets[0].getsockname()[1]
            store = RedisStore(connect(f"redis+sentinel://127.0.0.1:{first},127.0.0.1:{port}/quota"), "ns")
            (answer,) = await store.exchange([ASK])
            assert answer.members == 1
            await store.close()
        assert asked == [1]

    with RedisServer(tmp_path, port=free_port()) as server:
        watch = tmp_path / "sentinel.conf"
        port = free_port()
        watch.write_text(f"port {port}\nsentinel monitor quota 127.0.0.1 {server.port} 1\n")
        with RedisServer(tmp_path / "sentinel", "--sentinel", port=port, config=watch):
            run(scene())


def test_of_sentinels_that_cannot_be_had_it_says_why(run: Run) -> None:
    async def scene() -> None:
        store = RedisStore(connect(f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/quota"), "ns")
        with pytest.raises(StoreAwayError, match=r"no Sentinel that answers knows the primary$"):
            await store.told("p")
        await store.close()

    run(scene())


def test_sentinels_that_take_tls_only(run: Run, tmp_path: Path) -> None:
    need_tls(tmp_path)
    (tmp_path / "sentinel").mkdir()
    tls = {"cert": "server.pem", "key": "server.pem", "ca-cert": "ca.pem"}
    files = {name: str(CERTIFICATES / file) for name, file in tls.items()}
    words = [word for name, path in files.items() for word in (f"--tls-{name}-file", path)]
    port, watching = free_port(), free_port()
    watch = tmp_path / "sentinel.conf"
    lines = ["port 0", f"tls-port {watching}", "tls-replication yes", "tls-auth-clients no"]
    lines += [f"tls-{name}-file {path}" for name, path in files.items()]
    watch.write_text("\n".join([*lines, f"sentinel monitor quota 127.0.0.1 {port} 1\n"]))
    with (
        RedisServer(tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *words),
        RedisServer(tmp_path / "sentinel", "--sentinel", port=watching, config=watch),
    ):
        run(works(f"rediss+sentinel://127.0.0.1:{watching}/quota", files["ca-cert"]))


def test_addresses_and_logins() -> None:
    client = connect("rediss://user:pass@h:7000/2", "/etc/ca.pem")
    options = client.connection_pool.connection_kwargs
    assert (options["host"], options["port"], options["username"]) == ("h", 7000, "user")
    watched = connect("rediss+sentinel://:pass@[::1]:26379,b:26380", "/etc/ca.pem").connection_pool
    assert watched.service_name == "mymaster"
    assert watched.connection_kwargs["password"] == "pass"
    hosts = [each.connection_pool.connection_kwargs["host"] for each in watched.sentinel_manager.sentinels]
    assert hosts == ["::1", "b"]
    named = connect("redis+sentinel://u:p@a:26379/s").connection_pool
    assert named.connection_kwargs["username"] == "u"
