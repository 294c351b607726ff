"""Which answers are kept, and for how long."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ai_client.model.request import Endpoint

_NS: Final = 1_000_000_000
_OWN_TOOLS: Final = frozenset({"function", "custom"})
_OK: Final = 200


class _Tool(msgspec.Struct, gc=False):
    type: str = "function"


class _Fields(msgspec.Struct, gc=False):
    """What of a body bears on the cache. `null` is as good as absent, as in OpenAI's API."""

    temperature: float | None = None
    seed: int | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    web_search_options: Any = None
    tools: list[_Tool] | None = None


_decoder = msgspec.json.Decoder(_Fields)


class CachePolicy(msgspec.Struct, frozen=True):
    """Which calls the cache answers. `ttl_ns` is how long an answer may be reused, 0 for never.

    `deterministic_only` leaves out calls whose answers are meant to differ: all but embeddings and those with
    temperature 0 or a seed.
    """

    ttl_ns: int
    deterministic_only: bool = False

    @classmethod
    def of(cls, ttl_seconds: float, scope: str) -> CachePolicy:
        """From the configuration's `ttl_seconds` and `scope` (`all` or `deterministic`)."""
        return cls(round(ttl_seconds * _NS), scope == "deterministic")

    def covers(self, endpoint: Endpoint, body: bytes) -> bool:
        """Whether the answer to this call may be kept, and one that is kept be given.

        Not covered: what we merely pass on; calls that leave something behind at the provider (`store`, `background`)
        or build on what is there (`previous_response_id`, `conversation`, stored prompts); tools that the provider runs
        itself, for they search, compute or act anew each time; bodies that we cannot read.
        """
        if self.ttl_ns <= 0 or endpoint is Endpoint.OTHER:
            return False
        if endpoint is Endpoint.EMBEDDINGS:
            return True
        try:
            fields = _decoder.decode(body)
        except ValueError:
            return False
        if not (_stands_alone(fields) if endpoint is Endpoint.RESPONSES else not fields.store):
            return False
        if fields.web_search_options is not None or any(tool.type not in _OWN_TOOLS for tool in fields.tools or ()):
            return False
        return not self.deterministic_only or fields.temperature == 0 or fields.seed is not None

    def keeps(self, status: int) -> bool:
        """Whether an answer of this status is worth keeping: only a plain success is."""
        return status == _OK


def _stands_alone(fields: _Fields) -> bool:
    """Whether a call of `/responses` leaves nothing behind and builds on nothing. There, `store` is on by default."""
    return (
        fields.store is False
        and not fields.background
        and fields.previous_response_id is None
        and fields.conversation is None
        and fields.prompt is None
    )
