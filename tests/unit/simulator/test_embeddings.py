"""Vectors: of length one, alike where texts are alike."""

from __future__ import annotations

import math
import struct
from base64 import b64decode

import msgspec
import pytest

from ai_client.simulator.embeddings import body, vector
from ai_client.simulator.prompts import EmbeddingOptions


def cosine(a: str, b: str) -> float:
    return sum(x * y for x, y in zip(vector(a), vector(b), strict=True))


@pytest.mark.parametrize("text", ["a", "The quick brown fox", "ü", "   ", "1 2 3"])
def test_a_vector_has_length_one(text: str) -> None:
    assert len(vector(text)) == 1_536
    assert math.hypot(*vector(text)) == pytest.approx(1)


def test_texts_with_words_in_common_lie_close() -> None:
    near = cosine("how do I reset my password", "how can I reset the password")
    far = cosine("how do I reset my password", "bake bread at home")
    assert near > 0.4
    assert abs(far) < 0.2
    assert cosine("Same text.", "same TEXT.") == pytest.approx(1)


def test_fewer_dimensions_and_words_that_cancel_out() -> None:
    assert len(vector("some words", 4)) == 4
    for number in range(200):  # in one dimension half of the words cancel one another out
        assert math.hypot(*vector(f"word{number} other{number}", 1)) == pytest.approx(1)


def test_both_encodings_say_the_same() -> None:
    as_floats = msgspec.json.decode(body("m", EmbeddingOptions(["a b", "c"], 8, "float"), 5))
    as_base64 = msgspec.json.decode(body("m", EmbeddingOptions(["a b", "c"], 8, "base64"), 5))
    assert as_floats["usage"] == as_base64["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert [item["index"] for item in as_floats["data"]] == [0, 1]
    for plain, packed in zip(as_floats["data"], as_base64["data"], strict=True):
        assert struct.unpack("<8f", b64decode(packed["embedding"])) == pytest.approx(plain["embedding"])
