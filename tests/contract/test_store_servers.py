"""A fleet's limits on servers as they are run: TLS and a user of few rights, three Sentinels, a cluster of three."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_client.clock import SystemClock
from ai_client.limits.backends.redis import RedisStore, connect
from ai_client.limits.fleet import Fleet
from ai_client.limits.lease import Ask, Part, StoreAwayError
from ai_client.limits.member import Mode, Terms
from tests.collection.variables import defaults
from tests.quotas import limits, need, who
from tests.redis_server import RedisServer, free_cluster_port, free_port, need_redis, need_tls
from tests.running import Run
from tests.wire import CERTIFICATES, until

AUTHORITIES = str(CERTIFICATES / "ca.pem")
SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def _redis() -> None:
    need_redis()


def asks(count: int) -> list[Ask]:
    """On so many limits, which a cluster spreads."""
    return [Ask(f"provider:p{place}", "a", (Part(600, 60_000, 10, 5),)) for place in range(count)]


def test_tls_by_a_private_authority_and_a_user_of_few_rights(run: Run, tmp_path: Path) -> None:
    need_tls(tmp_path)
    server_pem = str(CERTIFICATES / "server.pem")
    port = free_port()
    words = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", AUTHORITIES]
    words += ["--tls-cert-file", server_pem, "--tls-key-file", server_pem]
    allowed = [f"+{each}" for each in defaults("quota_store", "vars")["ai_store_client_commands"]]

    async def scene() -> None:
        admin = connect(f"unix://{server.socket}")
        await admin.execute_command(
            "ACL", "SETUSER", "quota", "on", ">secret", "resetchannels", "~{ns:*", "-@all", *allowed
        )
        await admin.execute_command("ACL", "SETUSER", "default", "off")
        store = RedisStore(connect(f"rediss://quota:secret@127.0.0.1:{port}/0", AUTHORITIES), "ns")
        assert [each.step for each in await store.exchange(asks(2))] == [1, 1]
        await store.close()
        for url, authorities, why in (
            (f"rediss://quota:secret@127.0.0.1:{port}/0", None, "CERTIFICATE_VERIFY_FAILED"),
            (f"rediss://quota:wrong@127.0.0.1:{port}/0", AUTHORITIES, "AuthenticationError"),
            (f"rediss://127.0.0.1:{port}/0", AUTHORITIES, "Authentication"),
        ):
            refused = RedisStore(connect(url, authorities), "ns")
            with pytest.raises(StoreAwayError, match=why):
                await refused.exchange(asks(1))
            await refused.close()
        stranger = RedisStore(connect(f"rediss://quota:secret@127.0.0.1:{port}/0", AUTHORITIES), "other")
        with pytest.raises(StoreAwayError, match="NoPermission"):
            await stranger.exchange(asks(1))
        await stranger.close()
        await admin.aclose()

    with RedisServer(tmp_path, *words) as server:
        run(scene())


@contextlib.contextmanager
def _watched(folder: Path) -> Iterator[tuple[RedisServer, str]]:
    """A primary, its replica, and three Sentinels; with the URL to reach them."""
    for name in ("primary", "replica", *"abc"):
        (folder / name).mkdir()
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(
            RedisServer(folder / "primary", "--repl-diskless-sync-delay", "0", port=free_port())
        )
        words = ("--replicaof", "127.0.0.1", str(primary.port))
        stack.enter_context(RedisServer(folder / "replica", *words, port=free_port()))
        ports = []
        for name in "abc":
            ports.append(free_port())
            config = folder / name / "sentinel.conf"
            config.write_text(
                f"port {ports[-1]}\nbind 127.0.0.1\nsentinel monitor quota 127.0.0.1 {primary.port} 2\n"
                "sentinel down-after-milliseconds quota 500\nsentinel failover-timeout quota 3000\n"
            )
            stack.enter_context(RedisServer(folder / name, "--sentinel", port=ports[-1], config=config))
        where = ",".join(f"127.0.0.1:{port}" for port in ports)
        yield primary, f"redis+sentinel://{where}/quota"


def test_three_sentinels_and_a_primary_that_dies(run: Run, tmp_path: Path) -> None:
    """The limit is shared again as soon as there is another primary, and nobody was told more than there is."""

    async def scene() -> None:
        clock = SystemClock()
        modes: list[Mode] = []
        store = RedisStore(connect(url), "ns")
        watching = connect(url).connection_pool.sentinel_manager.sentinels[0]

        async def known() -> bool:
            (state,) = (await watching.sentinel_masters()).values()
            return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2)

        while not await known():  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        fleet = Fleet(store, Terms("n0"), clock, on_mode=lambda mode, _: modes.append(mode), on_pause=lambda *_: None)
        gate = fleet.make("provider:p", "the provider 'p'", limits(requests=600), keep=True)
        (await gate.reserve(need(1), who(), clock.monotonic_ns() + 30 * SECOND)).release()
        assert modes == [Mode.SHARED]
        primary.kill()
        # another may be there before it was asked again: then nothing failed
        answered = fleet.trips - fleet.failures
        await until(lambda: fleet.trips - fleet.failures > answered + 1)
        assert fleet.mode is Mode.SHARED
        assert modes in ([Mode.SHARED], [Mode.SHARED, Mode.ALONE, Mode.SHARED])
        (await gate.reserve(need(1), who(), clock.monotonic_ns() + 30 * SECOND)).release()
        await fleet.close()
        await watching.aclose()

    with _watched(tmp_path) as (primary, url):
        run(scene())


def test_a_cluster_of_three(run: Run, tmp_path: Path) -> None:
    """Limits lie on all of them, are asked for in one go; one that is named and away is no matter."""
    with contextlib.ExitStack() as stack:
        servers = []
        for name in "abc":
            folder = tmp_path / name
            folder.mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
            servers.append(stack.enter_context(RedisServer(folder, *options, port=free_cluster_port())))

        async def scene() -> None:
            clients = [connect(f"unix://{server.socket}") for server in servers]
            for place, client in enumerate(clients):
                slots = range(16384 * place // 3, 16384 * (place + 1) // 3)
                await client.execute_command("CLUSTER", "ADDSLOTS", *slots)
                await client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
            for server in servers[1:]:
                await clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", server.port)
            for client in clients:
                while (await client.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":  # noqa: ASYNC110  it tells nobody
                    await asyncio.sleep(0)
            where = f"127.0.0.1:{free_port()},127.0.0.1:{servers[0].port}"
            store = RedisStore(connect(f"redis+cluster://{where}"), "ns")
            assert [each.step for each in await store.exchange(asks(24))] == [1] * 24
            assert [each.step for each in await store.exchange(asks(24))] == [2] * 24
            kept = [await client.dbsize() for client in clients]
            assert all(kept), "each has some of them"
            await store.tell("p", b"words", 60_000)
            assert await store.told("p") == b"words"
            await store.close()
            for client in clients:
                await client.aclose()

        run(scene())
