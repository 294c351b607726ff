"""Vectors for texts: words hashed into a few dimensions each, so that texts with words in common lie close together."""

from __future__ import annotations

import math
import re
import struct
from base64 import b64encode
from hashlib import blake2b
from typing import Final

import msgspec

from ai_client.simulator.prompts import DIMENSIONS, EmbeddingOptions, as_texts

_WORD: Final = re.compile(r"\w+|[^\w\s]")
_PLACES: Final = 8  # of each word, so that two words seldom share more than one


def vector(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """A vector of length 1. The same for every seed, as for a real model."""
    sums: dict[int, int] = {}
    for word in _WORD.findall(text.lower()) or [text]:
        digest = blake2b(word.encode(), digest_size=4 * _PLACES).digest()
        for number in struct.unpack(f"<{_PLACES}I", digest):
            place = (number >> 1) % dimensions
            sums[place] = sums.get(place, 0) + (1 if number & 1 else -1)
    length = math.sqrt(sum(x * x for x in sums.values()))
    if length == 0:  # every word met its opposite: point somewhere all the same
        sums, length = {0: 1}, 1.0
    values = [0.0] * dimensions
    for place, value in sums.items():
        values[place] = value / length
    return values


def body(model: str, options: EmbeddingOptions, prompt_tokens: int) -> bytes:
    """The answer to a request for embeddings."""
    dimensions = options.dimensions or DIMENSIONS
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _encoded(vector(text, dimensions), options.encoding_format),
        }
        for index, text in enumerate(as_texts(options.input))
    ]
    usage = {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens}
    return msgspec.json.encode({"object": "list", "data": data, "model": model, "usage": usage})


def _encoded(values: list[float], encoding_format: str) -> str | list[float]:
    if encoding_format == "float":
        return values
    return b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
