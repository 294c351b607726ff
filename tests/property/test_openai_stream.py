"""Streams, however they are cut: the same bytes, the same count, the same end."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ai_client.errors import AIClientError
from ai_client.model.reply import StreamEnd
from ai_client.model.usage import as_members
from ai_client.providers.openai.judges import ChunkJudge, Judge, ResponseJudge
from ai_client.providers.openai.stream import EventStream
from tests.unit.providers.openai.feed import COUNT, DONE, STOP, USAGE, Fed, chunk, event

texts = st.text(min_size=1, max_size=12)
comments = st.sampled_from([b": ping\n\n", b"\n", b"id: 7\n\n", b"event: x\nretry: 5\n\n"])
extras = st.dictionaries(st.sampled_from(["logprobs", "x", "obfuscation"]), st.text(max_size=5), max_size=2)
contents = st.builds(lambda text, more: chunk(text, **more), texts, extras)
tools = st.builds(lambda text: event({"choices": [{"delta": {"tool_calls": [{"arguments": text}]}}]}), texts)
middles = st.lists(contents | tools | comments, min_size=1, max_size=8)
wholes = st.builds(
    lambda first, middle, usage: [first, *middle, STOP, *([USAGE] if usage else []), DONE],
    contents,
    middles,
    st.booleans(),
)


def delta(text: str) -> bytes:
    return b"event: response.output_text.delta\n" + event({"type": "response.output_text.delta", "delta": text})


COMPLETED: dict[str, Any] = {
    "type": "response.completed",
    "response": {"model": "m-1", "usage": {"input_tokens": 9, "output_tokens": 2}},
}
responses = st.lists(texts.map(delta), min_size=1, max_size=6).map(lambda events: [*events, event(COMPLETED)])


def cut(data: st.DataObject, stream: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(1, max(len(stream) - 1, 1)), max_size=10, unique=True)))
    return [stream[a:b] for a, b in pairwise([0, *cuts, len(stream)]) if a < b]


def read(pieces: list[bytes], judge: Judge) -> tuple[bytes, BaseException | None, list[StreamEnd]]:
    """What the caller gets, the error it gets, and the ends it was told."""

    async def main() -> tuple[bytes, BaseException | None, list[StreamEnd]]:
        stream = EventStream(Fed(pieces), judge, "p", COUNT)
        got = b""
        ends: list[StreamEnd] = []
        try:
            await stream.open()
            stream.on_end(ends.append)
            async for piece in stream:
                got += piece
        except AIClientError as error:
            return got, error, ends
        return got, None, ends

    return asyncio.run(main())


@given(wholes, st.booleans(), st.data())
def test_every_split_of_a_chat_yields_the_same(events: list[bytes], hide: bool, data: st.DataObject) -> None:
    stream = b"".join(events)
    expected = stream.replace(USAGE, b"") if hide else stream
    whole = read([stream], ChunkJudge(hide_usage=hide))
    assert whole[:2] == (expected, None)
    assert len(whole[2]) == 1
    assert read(cut(data, stream), ChunkJudge(hide_usage=hide)) == whole
    assert read([bytes([byte]) for byte in stream], ChunkJudge(hide_usage=hide)) == whole


@given(responses, st.data())
def test_every_split_of_a_response_yields_the_same(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(events)
    whole = read([stream], ResponseJudge())
    assert whole[:2] == (stream, None)
    assert read(cut(data, stream), ResponseJudge()) == whole


@given(wholes, st.data())
def test_a_stream_that_is_cut_off_never_looks_whole(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(events)
    end = data.draw(st.integers(0, len(stream) - 2))  # without its last byte the last event still lacks its empty line
    got, error, ends = read(cut(data, stream[:end]), ChunkJudge(hide_usage=False))
    assert isinstance(error, AIClientError)
    assert stream.startswith(got)
    assert [each.error for each in ends] in ([], [error])


@given(wholes, st.binary(min_size=1, max_size=20), st.data())
def test_rubbish_is_an_error_or_passes_but_never_a_crash(
    events: list[bytes], rubbish: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(events)))
    stream = b"".join([*events[:at], rubbish, *events[at:]])
    _, _, ends = read(cut(data, stream), ChunkJudge(hide_usage=True))
    assert len(ends) <= 1


@given(st.lists(texts, min_size=1, max_size=5))
def test_without_a_count_the_characters_are_counted(said: list[str]) -> None:
    _, _, ends = read([chunk(text) for text in said] + [STOP, DONE], ChunkJudge(hide_usage=True))
    usage = ends[0].usage
    assert usage.estimated
    assert usage.output_tokens == -(-sum(map(len, said)) // 4)


@given(st.lists(texts, min_size=1, max_size=5), st.data())
def test_wherever_it_is_cut_who_asked_is_told_that_count_before_the_end(said: list[str], data: st.DataObject) -> None:
    plain = b"".join([chunk(text) for text in said] + [STOP])
    got, _, ends = read(cut(data, plain + DONE), ChunkJudge(hide_usage=False, tell_usage=True))
    members = {"id": "1", "model": "m-1", "choices": [], "usage": as_members(ends[0].usage)}
    assert got == plain + event(members) + DONE


@given(st.dictionaries(st.text(max_size=6), st.none() | st.integers() | st.text(max_size=6), max_size=4))
def test_any_json_object_is_an_event_or_an_error(fields: dict[str, Any]) -> None:
    for judge in (ChunkJudge(hide_usage=True), ResponseJudge()):
        try:
            judge.read(msgspec.json.encode(fields))
        except AIClientError as error:
            if not error.message:
                raise AssertionError("no reason given") from error
