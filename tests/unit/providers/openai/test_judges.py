"""What the events of a stream mean."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import BrokenReplyError
from ai_client.model.usage import Usage
from ai_client.providers.openai.answers import ErrorFields
from ai_client.providers.openai.judges import ChunkJudge, Judge, ResponseJudge

DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BROKEN = [b"{", b"", b"[]", b'{"model":5,"type":5}', b'{"model":"\xff","type":"\xff"}', DEEP]


def judged(judge: Judge, *events: dict[str, Any] | bytes) -> list[bool]:
    return [judge.read(each if isinstance(each, bytes) else msgspec.json.encode(each)) for each in events]


def choice(finish: str | None = None, text: str | None = None, **delta: Any) -> dict[str, Any]:
    fields = {"delta": delta} if text is None else {"text": text}
    return {"model": "m-1", "choices": [{"index": 0, "finish_reason": finish, **fields}]}


def test_a_chat() -> None:
    judge = ChunkJudge(hide_usage=False)
    assert judged(judge, choice(role="assistant", content="")) == [True]
    assert (judge.content, judge.chars, judge.model) == (False, 0, "m-1")
    judged(judge, choice(content="hello"))
    assert (judge.content, judge.chars, judge.finished) == (True, 5, False)
    judged(judge, choice("stop"))
    assert (judge.finished, judge.done) == (True, False)
    judged(judge, b"[DONE]")
    assert (judge.done, judge.usage, judge.error) == (True, None, None)


def test_the_text_is_kept_where_that_is_asked_for() -> None:
    events = [choice(role="assistant", content=""), choice(content="a"), choice(content="b")]
    for keep, said in ((True, "ab"), (False, None)):
        judge = ChunkJudge(hide_usage=False, keep=keep)
        judged(judge, *events)
        assert judge.said == said
        judged(judge, choice("stop"))
        assert judge.said is None, "it has its end"
    assert ResponseJudge().said is None


@pytest.mark.parametrize("more", [{"refusal": "no"}, {"reasoning_content": "hm"}, {"tool_calls": [{"index": 0}]}])
def test_more_than_text_is_not_kept(more: dict[str, Any]) -> None:
    judge = ChunkJudge(hide_usage=False, keep=True)
    judged(judge, choice(content="a"), choice(**more), choice(content="b"))
    assert judge.said is None


def test_completions_are_not_kept() -> None:
    judge = ChunkJudge(hide_usage=False, keep=True)
    judged(judge, choice(text="a"))
    assert judge.said is None


@pytest.mark.parametrize(
    ("event", "chars"),
    [
        (choice(content="ab"), 2),
        (choice(reasoning_content="abc"), 3),
        (choice(refusal="abcd"), 4),
        (choice(tool_calls=[{"index": 0}]), len(b'[{"index":0}]')),
        (choice(text="abcde"), 5),
    ],
)
def test_content_in_each_of_its_shapes(event: dict[str, Any], chars: int) -> None:
    judge = ChunkJudge(hide_usage=False)
    judged(judge, event)
    assert (judge.content, judge.chars) == (True, chars)


@pytest.mark.parametrize(
    "event",
    [
        choice(role="assistant", content=None, refusal=None, tool_calls=None),
        choice(role="assistant", content="", tool_calls=[]),
        {"choices": []},
        {"choices": [], "prompt_filter_results": [{}]},
        {"choices": [{"index": 0}]},
        {"model": None},
    ],
)
def test_what_is_no_content(event: dict[str, Any]) -> None:
    judge = ChunkJudge(hide_usage=True)
    assert judged(judge, event) == [True]
    assert not judge.content


def test_an_end_without_content_is_something_to_see() -> None:
    judge = ChunkJudge(hide_usage=False)
    judged(judge, choice("content_filter"))
    assert (judge.content, judge.finished) == (True, True)


@pytest.mark.parametrize("hide", [True, False])
def test_usage_is_read_and_hidden_where_nobody_asked(hide: bool) -> None:
    judge = ChunkJudge(hide_usage=hide)
    alone = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    within = {**choice("stop"), "usage": {"prompt_tokens": 8}}
    assert judged(judge, within) == [True], "what carries content too is passed on"
    assert judge.usage == Usage(8)
    assert judged(judge, alone) == [not hide]
    assert judge.usage == Usage(9, 2)


@pytest.mark.parametrize("error", [{"message": "busy"}, "busy"])
def test_an_error_among_the_chunks(error: Any) -> None:
    judge = ChunkJudge(hide_usage=True)
    assert judged(judge, {"error": error}) == [True]
    assert judge.error in ("busy", ErrorFields(message="busy"))


def test_a_count_of_ours_is_told_to_who_asked() -> None:
    usage = Usage(3, 1, estimated=True)
    assert ChunkJudge(hide_usage=True).told(usage) == ResponseJudge().told(usage) == b""
    judge = ChunkJudge(hide_usage=False, tell_usage=True)
    judge.read(
        b'{"id":"c1","object":"text_completion","created":5,"model":"m","service_tier":null,"x":1,'
        b'"choices":[{"text":"","finish_reason":"stop"}]}'
    )
    assert judge.told(usage) == (
        b'data: {"id":"c1","object":"text_completion","created":5,"model":"m","service_tier":null,"choices":[],'
        b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4,"estimated":true}}\n\n'
    )


@pytest.mark.parametrize("data", BROKEN)
@pytest.mark.parametrize("make", [lambda: ChunkJudge(hide_usage=False), ResponseJudge])
def test_what_is_no_event(make: Any, data: bytes) -> None:
    with pytest.raises(BrokenReplyError, match="not the JSON it should be"):
        make().read(data)


def test_a_response() -> None:
    judge = ResponseJudge()
    judged(judge, {"type": "response.created", "response": {"model": "m-1"}})
    assert not judge.content
    judged(judge, {"type": "response.output_text.delta", "delta": "hello"})
    assert (judge.content, judge.chars, judge.done) == (True, 5, False)
    judged(judge, {"type": "response.mcp_call_arguments.delta", "delta": {"a": 1}})
    assert judge.chars == 5
    usage = {"input_tokens": 9, "output_tokens": 2}
    judged(judge, {"type": "response.completed", "response": {"model": "m-1", "usage": usage}})
    assert (judge.done, judge.finished, judge.model, judge.usage) == (True, True, "m-1", Usage(9, 2))


@pytest.mark.parametrize("response", [None, {}, {"usage": None, "model": None}])
def test_a_response_that_ends_without_saying_much(response: Any) -> None:
    judge = ResponseJudge()
    judged(judge, {"type": "response.incomplete", "response": response})
    assert (judge.done, judge.finished, judge.model, judge.usage) == (True, True, "", None)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (
            {"type": "response.failed", "response": {"error": {"message": "m", "code": "c"}}},
            ErrorFields("m", None, "c"),
        ),
        ({"type": "response.failed", "response": {}}, ErrorFields("the response failed")),
        ({"type": "response.failed"}, ErrorFields("the response failed")),
        ({"type": "error", "message": "m", "code": "c"}, ErrorFields("m", None, "c")),
        ({"type": "error", "error": {"message": "m"}}, ErrorFields("m")),
    ],
)
def test_a_response_that_fails(event: dict[str, Any], error: ErrorFields) -> None:
    judge = ResponseJudge()
    judged(judge, event)
    assert judge.error == error


def test_some_servers_end_responses_as_they_end_chats() -> None:
    judge = ResponseJudge()
    judged(judge, b"[DONE]")
    assert (judge.done, judge.finished) == (True, False)
