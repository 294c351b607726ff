"""Does a request do more than to ask? Looked at only for the few that might be asked twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from ai_client.model.request import Endpoint

_ONCE: Final = b"idempotency-key"
_NONE: Final = (b"", b"null")
_CALLERS_TOOLS: Final = frozenset({"function", "custom"})
"""Tools that the caller runs; all others run at the provider, and may do anything there."""


class _Tool(msgspec.Struct, gc=False):
    type: str = "function"


class _Effects(msgspec.Struct, gc=False):
    store: bool | None = None
    background: bool | None = None
    conversation: msgspec.Raw = msgspec.Raw()
    previous_response_id: msgspec.Raw = msgspec.Raw()
    tools: list[_Tool] | None = None


_effects = msgspec.json.Decoder(_Effects)


def only_asks(endpoint: Endpoint, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
    """Can this be sent twice, and one of the answers be thrown away, without anybody noticing?

    Chat, completions and embeddings, unless they are to be stored, or bring tools that run at the provider. Responses
    only with `store: false` (by OpenAI's API reference they are stored otherwise), outside of a conversation and not in
    the background. Nothing that is passed through, nothing with an Idempotency-Key, nothing that cannot be read.
    """
    if endpoint is Endpoint.OTHER or any(name == _ONCE for name, _ in headers):
        return False
    try:
        asked = _effects.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if asked.store or asked.background:
        return False
    if any(bytes(each) not in _NONE for each in (asked.conversation, asked.previous_response_id)):
        return False
    if endpoint is Endpoint.RESPONSES and asked.store is None:
        return False
    return all(tool.type in _CALLERS_TOOLS for tool in asked.tools or ())
