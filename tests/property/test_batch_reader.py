"""Whatever a file holds, every line of it is accounted for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ai_client.batch.job import Defaults, survey
from ai_client.batch.reader import Item, Rejected, read
from ai_client.model.request import Endpoint

LIMIT = 60

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
MEMBERS = st.sampled_from(["custom_id", "id", "method", "url", "body", "messages", "prompt", "model", "stream", "x"])
VALUES = st.sampled_from(["", "m", "POST", "/v1/chat/completions", "/chat/completions", True, {"model": "m"}]) | JSON


@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from([b"{}", b'{"prompt":"x"}', b" ", b"\r", b"x" * 70])).map(b"\n".join)
)
def test_every_line_of_any_bytes_is_told_once_in_order(data: bytes) -> None:
    lines = list(read(io.BytesIO(data), Defaults(), LIMIT))
    with TemporaryDirectory() as folder:
        path = Path(folder, "in")
        path.write_bytes(data)
        assert [line.line for line in lines] == list(range(1, survey(path).lines + 1))
    names = [line.custom_id for line in lines if isinstance(line, Item)]
    assert len(names) == len(set(names))


@given(st.dictionaries(MEMBERS, VALUES))
def test_an_object_is_asked_or_rejected_with_a_reason(members: dict[str, object]) -> None:
    (line,) = read(io.BytesIO(json.dumps(members).encode("utf-8", "surrogatepass")), Defaults(model="d"), 1 << 20)
    if isinstance(line, Rejected):
        assert line.message.startswith("line 1: ")
    else:
        assert isinstance(line, Item)
        assert msgspec.json.decode(line.body, type=dict[str, object])["model"] == members.get("model", "d") or (
            "body" in members
        )


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=5), st.text(min_size=1))
def test_a_body_that_says_its_model_is_sent_byte_for_byte(body: dict[str, object], custom_id: str) -> None:
    raw = json.dumps({**body, "model": "m", "stream": False}, ensure_ascii=False)
    line = f'{{"custom_id":{json.dumps(custom_id)},"url":"/v1/embeddings","body":{raw}}}'
    assert list(read(io.BytesIO(line.encode()), Defaults(model="d"), 1 << 20)) == [
        Item(1, custom_id, Endpoint.EMBEDDINGS, raw.encode())
    ]
