"""The prefix cache of a provider: which beginnings of prompts it has seen lately."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from ai_client.simulator.prompts import CHARS_PER_TOKEN

BLOCK_TOKENS: Final = 512
BLOCK_CHARS: Final = BLOCK_TOKENS * CHARS_PER_TOKEN

_REMEMBERED_BLOCKS: Final = 16_384  # 8 million tokens for each key


class PrefixCache:
    """Blocks of 512 tokens, each known by the hash of itself and everything before it. The oldest are forgotten."""

    __slots__ = ("_blocks", "_limit")

    def __init__(self, limit: int = _REMEMBERED_BLOCKS) -> None:
        self._limit = limit
        self._blocks: OrderedDict[bytes, None] = OrderedDict()

    def see(self, model: str, text: str) -> int:
        """Count the tokens at the beginning of `text` that were seen before, and remember all its whole blocks."""
        blocks = self._blocks
        chain = model.encode()
        seen = 0
        known = True
        for end in range(BLOCK_CHARS, len(text) + 1, BLOCK_CHARS):
            block = text[end - BLOCK_CHARS : end].encode()
            chain = blake2b(chain + block, digest_size=16).digest()
            known = known and chain in blocks
            seen += known
            blocks[chain] = None
            blocks.move_to_end(chain)
        while len(blocks) > self._limit:
            blocks.popitem(last=False)
        return seen * BLOCK_TOKENS
