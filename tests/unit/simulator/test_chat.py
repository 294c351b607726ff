"""`/chat/completions` and `/completions` on the wire, as the documents of OpenAI's API describe them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.simulator.stage import Stage


def joined(events: list[Any], index: int = 0) -> str:
    chunks = [event for event in events if event != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return "".join(choice["text"] if "text" in choice else choice["delta"].get("content", "") for choice in choices)


def test_a_whole_chat_answer() -> None:
    answer = Stage().chat("Hi.", max_tokens=50).json
    assert answer["id"].startswith("chatcmpl-")
    assert (answer["object"], answer["model"]) == ("chat.completion", "deepseek-v3.2")
    assert answer["created"] == 1_767_225_601
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["finish_reason"] == "length"
    assert answer["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 50,
        "total_tokens": 54,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def test_a_short_answer_stops_by_itself() -> None:
    choice = Stage(reply_tokens=9).chat(max_tokens=9).json["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert Stage(reply_tokens=9).chat(max_completion_tokens=8).json["choices"][0]["finish_reason"] == "length"


def test_a_streamed_chat_answer() -> None:
    page = Stage().chat(stream=True, max_tokens=5)
    assert page.headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    *chunks, done = page.events
    assert done == "[DONE]"
    assert len(chunks) == 1 + 5 + 1
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 6 + ["length"]
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)


def test_the_stream_says_what_the_whole_answer_says() -> None:
    """The two bodies differ, so their luck does too; of two simulators each answers its own first request."""
    stage = Stage(answers=None, seed=5)
    page = stage.chat("Tell me.", stream=True)
    pieces = [event["choices"][0]["delta"].get("content", "") for event in page.events[:-1]]
    assert "".join(pieces) == joined(page.events)
    assert stage.simulator.stats()["completion_tokens"] == sum(1 for piece in pieces if piece)


def test_usage_comes_when_it_is_asked_for() -> None:
    *chunks, last, _done = Stage().chat(stream=True, max_tokens=5, stream_options={"include_usage": True}).events
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("stream", [True, False])
def test_several_choices(stream: bool) -> None:
    page = Stage().chat(n=3, stream=stream, max_tokens=12)
    if stream:
        texts = [joined(page.events, index) for index in range(3)]
        reasons = [choice["finish_reason"] for event in page.events[:-1] for choice in event["choices"]]
        assert reasons.count("length") == 3
    else:
        texts = [choice["message"]["content"] for choice in page.json["choices"]]
        assert page.json["usage"]["completion_tokens"] == 36
    assert len(set(texts)) == 3


def test_a_completion() -> None:
    answer = Stage().ask("/v1/completions", {"model": "gpt-4.1", "prompt": ["a", "b"], "max_tokens": 6}).json
    assert answer["id"].startswith("cmpl-")
    assert answer["object"] == "text_completion"
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["completion_tokens"] == 12


def test_a_streamed_completion() -> None:
    body = {"model": "gpt-4.1", "prompt": "a", "max_tokens": 6, "stream": True}
    *chunks, done = Stage().ask("/v1/completions", body).events
    assert done == "[DONE]"
    assert len(chunks) == 6 + 1
    assert all(chunk["object"] == "text_completion" for chunk in chunks)
    assert chunks[-1]["choices"][0] == {"index": 0, "text": "", "logprobs": None, "finish_reason": "length"}
    assert len(joined(chunks)) > 6
