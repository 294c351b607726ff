"""The fleet's store on Redis 6.2 or newer, or Valkey: one script for each step of the law of `limits.lease`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from ai_client.limits.lease import (
    AHEAD_TURNS,
    HUNGRY_MS,
    LAG_MS,
    RECOVERY_MS,
    SAVING_MS,
    SWEEP_MS,
    UNSEEN_MS,
    WHOLE,
    YIELD_MS,
    Answer,
    Ask,
    StoreAwayError,
)

_SCRIPT: Final = resources.files(__package__).joinpath("lease.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_KEYS: Final = ("state", "seen", "shares", "weights", "entitled", "hungry", "pauses")
_LAW: Final = (WHOLE, UNSEEN_MS, SWEEP_MS, RECOVERY_MS, HUNGRY_MS, LAG_MS, SAVING_MS, YIELD_MS, AHEAD_TURNS)
_KEEP_MS: Final = 2 * 86_400_000  # what nobody asks for is forgotten after two days
_TIMEOUT: Final = 1.0
_SERVER_S_CLOCK: Final = -1


class RedisStore:
    """See `limits.lease.LeaseStore`. All keys of one limit have one hash tag, so that a cluster keeps them together."""

    def __init__(self, client: Any, namespace: str, now_ms: Callable[[], int] | None = None) -> None:
        """`client` is a redis-py client; `now_ms` takes the place of the server's clock in tests."""
        self._client = client
        self._namespace = namespace
        self._now_ms = now_ms

    async def exchange(self, asks: list[Ask]) -> list[Answer]:
        """All at once, in one round trip."""
        try:
            found = await self._send(asks)
            if any(isinstance(each, NoScriptError) for each in found):
                # nothing of what failed so has happened: only that is asked again
                await self._client.script_load(_SCRIPT)
                missing = [place for place, each in enumerate(found) if isinstance(each, NoScriptError)]
                again = await self._send([asks[place] for place in missing])
                for place, each in zip(missing, again, strict=True):
                    found[place] = each
        except (RedisError, RedisClusterException, OSError) as error:
            raise _away(error) from error
        for each in found:
            if isinstance(each, Exception):
                raise _away(each) from each
        return [_answer(ask, each) for ask, each in zip(asks, found, strict=True)]

    async def tell(self, provider: str, words: bytes, ms: int) -> None:
        """Keep them for so long."""
        await self._command("SET", self._words_of(provider), words, "PX", ms)

    async def told(self, provider: str) -> bytes | None:
        """What is kept."""
        found: bytes | None = await self._command("GET", self._words_of(provider))
        return found

    async def close(self) -> None:
        """Close the connections, those to the Sentinels as well."""
        watch = getattr(getattr(self._client, "connection_pool", None), "sentinel_manager", None)
        await self._client.aclose()
        for sentinel in watch.sentinels if watch is not None else ():
            await sentinel.aclose()

    def _words_of(self, provider: str) -> str:
        return f"{{{self._namespace}:told:{provider}}}:words"

    async def _command(self, *words: str | bytes | int) -> Any:
        try:
            return await self._client.execute_command(*words)
        except (RedisError, RedisClusterException, OSError) as error:
            raise _away(error) from error

    async def _send(self, asks: list[Ask]) -> list[Any]:
        now = _SERVER_S_CLOCK if self._now_ms is None else self._now_ms()
        pipe = self._client.pipeline(transaction=False)
        for ask in asks:
            keys = [f"{{{self._namespace}:{ask.limit}}}:{key}" for key in _KEYS]
            # not evalsha(): the pipeline of a cluster does not have it, and takes the command all the same
            pipe.execute_command("EVALSHA", _SHA, len(keys), *keys, *_words(ask, now))
        found: list[Any] = await pipe.execute(raise_on_error=False)
        return found


def _away(error: Exception) -> StoreAwayError:
    # redis-py lists every option of every connection there
    said = "no Sentinel that answers knows the primary" if isinstance(error, MasterNotFoundError) else str(error)
    return StoreAwayError(f"{type(error).__name__}: {said}")


def _words(ask: Ask, now: int) -> list[str | int]:
    words: list[str | int] = [
        now,
        ask.member,
        ask.weight,
        ask.step,
        ask.share,
        int(ask.leaving),
        ask.share_ms,
        *_LAW,
        _KEEP_MS,
        ask.rank,
        ask.level,
        int(ask.light),
        len(ask.parts),
    ]
    for part in ask.parts:
        words += (part.amount, part.period, part.burst, part.want, part.least, part.back, part.most)
    words.append(len(ask.pauses))
    for target, ms in ask.pauses:
        words += (target, ms)
    return words


def _answer(ask: Ask, said: list[Any]) -> Answer:
    step, share, members, crowd, retry = said[:5]
    end = 5 + len(ask.parts)
    pauses = [(said[at].decode("utf-8", "replace"), said[at + 1]) for at in range(end, len(said), 2)]
    return Answer(tuple(said[5:end]), step, share, members, crowd, retry, tuple(sorted(pauses)))


def connect(url: str, ca_file: str | None = None) -> Any:
    """A client for `redis://`, `rediss://`, `unix://`, `redis+cluster://host:port,host:port` or
    `redis+sentinel://host:port,host:port/SERVICE`; with `s` after redis for TLS. Nothing is connected yet.
    """
    parts = urlsplit(url)
    kind = parts.scheme.partition("+")[2]
    tls: Mapping[str, Any] = {}
    if parts.scheme.startswith("rediss"):
        tls = {"ssl": True, "ssl_ca_certs": ca_file} if kind else {"ssl_ca_certs": ca_file}
    options: dict[str, Any] = {"socket_connect_timeout": _TIMEOUT, "socket_timeout": _TIMEOUT, **tls}
    if not kind:
        return Redis.from_url(url, **options)
    hosts, login = _hosts(parts.netloc)
    if kind == "cluster":
        # of these one has to be there; it names the others
        return RedisCluster(startup_nodes=[ClusterNode(*each) for each in hosts], **login, **options)
    service = parts.path.strip("/") or "mymaster"
    watch: Any = Sentinel  # it is not typed
    # Their own options, or the connections to the Sentinels themselves would have no TLS. Each is asked once: redis-py
    # would try one that is dead for seconds before it asks the next, and a renewal may take one.
    seats = {**options, "retry": Retry(NoBackoff(), 0)}
    return watch(hosts, sentinel_kwargs=seats, **options).master_for(service, **login, **options)


def _hosts(netloc: str) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """`user:password@a:1,b:2` as addresses and the login."""
    who, _, where = netloc.rpartition("@")
    login: dict[str, Any] = {}
    if who:
        user, _, password = who.partition(":")
        login = {"password": password} if not user else {"username": user, "password": password}
    hosts = []
    for item in where.split(","):
        host, _, port = item.rpartition(":")
        hosts.append((host.strip("[]"), int(port)))
    return hosts, login
