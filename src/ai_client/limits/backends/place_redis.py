"""The fleet's places on Redis 6.2 or newer, or Valkey: one script for each step of the law of `limits.places`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import resources
from typing import Any, Final

from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from ai_client.limits.lease import HUNGRY_MS, RECOVERY_MS, SWEEP_MS, StoreAwayError
from ai_client.limits.places import PlaceAnswer, PlaceAsk

_SCRIPT: Final = resources.files(__package__).joinpath("places.lua").read_text("utf-8")
_SHA: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_KEYS: Final = ("state", "held", "ends", "seen", "weights", "shares", "hungry")
_KEEP_MS: Final = 2 * 86_400_000
_SERVER_S_CLOCK: Final = -1


class RedisPlaces:
    """See `limits.places.PlaceStore`. All keys of one limit have one hash tag, apart from those of its rates."""

    def __init__(self, client: Any, namespace: str, now_ms: Callable[[], int] | None = None) -> None:
        """`client` is a redis-py client, which stays its owner's; `now_ms` takes the place of the server's clock."""
        self._client = client
        self._namespace = namespace
        self._now_ms = now_ms

    async def exchange(self, asks: list[PlaceAsk]) -> list[PlaceAnswer]:
        """All at once, in one round trip."""
        try:
            try:
                found = await self._send(asks)
            except NoScriptError:
                # the server knows the script or does not, for all of them: none of these has happened
                await self._client.script_load(_SCRIPT)
                found = await self._send(asks)
        except (RedisError, RedisClusterException, OSError) as error:
            raise StoreAwayError(f"{type(error).__name__}: {error}") from error
        return [PlaceAnswer(*each) for each in found]

    async def _send(self, asks: list[PlaceAsk]) -> list[Any]:
        now = _SERVER_S_CLOCK if self._now_ms is None else self._now_ms()
        pipe = self._client.pipeline(transaction=False)
        for ask in asks:
            keys = [f"{{{self._namespace}:places:{ask.limit}}}:{key}" for key in _KEYS]
            words = (ask.total, ask.want, ask.using, ask.held, ask.share, ask.weight, ask.lease_ms, ask.share_ms)
            law = (ask.least, ask.most, ask.size, ask.delta, SWEEP_MS, RECOVERY_MS, HUNGRY_MS, _KEEP_MS)
            pipe.execute_command("EVALSHA", _SHA, len(keys), *keys, now, ask.member, *words, int(ask.leaving), *law)
        found: list[Any] = await pipe.execute()
        return found
