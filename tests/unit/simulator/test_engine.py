"""From a request to its answer: luck, quota, prefix cache, faults, delays, refusals."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ai_client.errors import ConfigurationError
from ai_client.simulator.models import MODELS
from tests.unit.simulator.stage import Page, Stage


def said(page: Page) -> tuple[str, Any]:
    return page.json["choices"][0]["message"]["content"], page.json["usage"]


def test_the_same_seed_and_request_get_the_same_answer_in_any_order() -> None:
    texts = [f"question {number}" for number in range(40)]
    shuffled = random.Random(4).sample(texts, len(texts))
    one, other = Stage(seed=9), Stage(seed=9)
    answers = {text: said(one.chat(text)) for text in texts}
    assert {text: said(other.chat(text)) for text in shuffled} == answers
    another = Stage(seed=8)
    assert not any(said(another.chat(text)) == answer for text, answer in answers.items())


def test_delays_are_drawn_the_same_way() -> None:
    def delays(texts: list[str]) -> dict[str, list[float]]:
        stage = Stage(seed=9, profile="realistic")
        pages = {text: stage.chat(text, stream=True) for text in texts}
        stage.clock.advance(300)
        return {text: [at for at, _, _ in page.acts] for text, page in pages.items()}

    texts = [f"question {number}" for number in range(10)]
    found = delays(texts)
    assert delays(texts[::-1]) == found
    assert len({tuple(times) for times in found.values()}) == 10
    assert all(0.05 < times[0] < 10 for times in found.values())


def test_the_same_body_again_gets_other_luck_and_again_in_order() -> None:
    one, other = Stage(), Stage()
    first, second = said(one.chat("a")), said(one.chat("a"))
    assert first != second
    assert [said(other.chat("a")), said(other.chat("a"))] == [first, second]


def test_a_refused_request_uses_up_no_luck() -> None:
    calm, limited, faulty = Stage(), Stage(rpm=1), Stage(faults=("status:503@times=3",))
    expected = [said(calm.chat("a")), said(calm.chat("a"))]
    got = []
    for _ in range(2):
        while (page := limited.chat("a")).status == 429:
            limited.clock.advance(20)
        got.append(said(page))
    assert got == expected
    assert [faulty.chat("a").status for _ in range(3)] == [503] * 3
    assert said(faulty.chat("a")) == expected[0]


def test_a_whole_answer_takes_as_long_as_its_stream() -> None:
    stage = Stage(latency_ms=40, token_ms=10)
    whole = stage.chat("a", max_tokens=6)
    stream = stage.chat("a", max_tokens=6, stream=True)
    stage.clock.advance(5)
    assert [at for at, _, _ in whole.acts] == [0.09]
    assert [at for at, verb, _ in stream.acts if verb == "write"] == pytest.approx([0.04 + 0.01 * i for i in range(6)])
    assert stream.verbs[-1] == "end"


def test_requests_a_minute() -> None:
    stage = Stage(rpm=2)
    page = stage.chat()
    assert page.headers[b"x-ratelimit-limit-requests"] == b"2"
    assert page.headers[b"x-ratelimit-remaining-requests"] == b"1"
    assert b"x-ratelimit-limit-tokens" not in page.headers
    stage.chat()
    page = stage.chat()
    assert page.status == 429
    assert (page.headers[b"retry-after"], page.headers[b"retry-after-ms"]) == (b"30", b"30000")
    assert page.headers[b"x-ratelimit-remaining-requests"] == b"0"
    error = page.json["error"]
    assert (error["type"], error["code"]) == ("requests", "rate_limit_exceeded")
    assert "Limit" in error["message"].title()
    assert stage.chat(key="hs_other").status == 200
    stage.clock.advance(30)
    assert stage.chat().status == 200


def test_tokens_a_minute_are_those_of_the_usage() -> None:
    stage = Stage(tpm=1_000, reply_tokens=100)
    usage = stage.chat("x" * 400).json["usage"]
    assert usage["total_tokens"] == 103 + 100
    page = stage.chat("y")
    assert page.headers[b"x-ratelimit-remaining-tokens"] == b"693"
    page = stage.chat("x" * 2_800)
    assert (page.status, page.json["error"]["type"]) == (429, "tokens")
    page = stage.chat("x" * 4_000)
    assert page.status == 429
    assert "too large" in page.json["error"]["message"]
    assert b"retry-after" not in page.headers


def test_cached_tokens_of_a_prefix_seen_before_by_the_same_key() -> None:
    stage = Stage(reply_tokens=8)
    long = "context " * 600  # 4,800 characters: two blocks of 2,048
    cached = [
        stage.chat(long + end, key=key).json["usage"]["prompt_tokens_details"]["cached_tokens"]
        for end, key in (("a", "k1"), ("b", "k1"), ("c", "k2"))
    ]
    assert cached == [0, 1_024, 0]
    assert stage.simulator.stats()["cached_tokens"] == 1_024


def test_cached_tokens_come_sooner_and_cost_less() -> None:
    def asked(stage: Stage) -> tuple[float, int]:
        page = stage.chat("context " * 2_000 + "b", model="gpt-4.1", advance=600)
        return page.acts[0][0], stage.simulator.stats()["cost_nano"]

    fresh, warm = Stage(profile="realistic", reply_tokens=8), Stage(profile="realistic", reply_tokens=8)
    slow, dear = asked(fresh)
    warm.chat("context " * 2_000 + "a", model="gpt-4.1", advance=600)
    before = warm.simulator.stats()["cost_nano"]
    soon, total = asked(warm)
    cached = 7 * 512
    assert slow - soon == pytest.approx(cached * 50e-6)
    assert dear - (total - before) == cached * (2_000 - 500)


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("/v1/chat/completions", b"", 400, "invalid_request", None),
        ("/v1/chat/completions", b"{", 400, "invalid_request", None),
        ("/v1/chat/completions", b"\xff\xfe", 400, "invalid_request", None),
        ("/v1/chat/completions", {"model": "gpt-4.1"}, 400, "invalid_request", "messages"),
        ("/v1/chat/completions", {"model": "gpt-4.1", "messages": []}, 400, "invalid_request", "messages"),
        ("/v1/chat/completions", {"model": "gpt-4", "messages": [{"role": "user"}]}, 404, "model_not_found", "model"),
        ("/v1/chat/completions", {"model": "zzz", "messages": [{"role": "user"}]}, 404, "model_not_found", "model"),
        ("/v1/chat/completions", {"model": "gpt-4.1", "messages": [{}]}, 400, "invalid_request", "messages[0]"),
        ("/v1/completions", {"model": "gpt-4.1", "prompt": "a", "n": 129}, 400, "invalid_request", "n"),
        ("/v1/completions", {"model": "gpt-4.1", "prompt": ["a"] * 20, "n": 128}, 400, "invalid_request", "prompt"),
        ("/v1/completions", {"model": "gpt-4.1", "prompt": [{}]}, 400, "invalid_request", "prompt"),
        ("/v1/embeddings", {"model": "gpt-4.1", "input": "a"}, 400, "invalid_request", "model"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": [""]}, 400, "invalid_request", "input"),
        ("/v1/responses", {"model": "text-embedding-3-small", "input": "a"}, 400, "invalid_request", "model"),
    ],
)  # fmt: skip
def test_requests_at_fault(path: str, body: Any, status: int, code: str, param: str | None) -> None:
    stage = Stage()
    page = stage.ask(path, body)
    assert page.status == status
    assert (page.json["error"]["code"], page.json["error"]["param"]) == (code, param)
    assert stage.simulator.stats()["errors"] == {str(status): 1}
    assert stage.simulator.stats()["answered"] == 0


def test_a_prompt_and_reply_must_fit_the_context() -> None:
    body = {"model": "deepseek-v3.2", "messages": [{"role": "user", "content": "x" * 400_000}]}
    stage = Stage(reply_tokens=8)
    assert stage.ask("/v1/chat/completions", {**body, "max_tokens": 31_069}).status == 200
    page = stage.ask("/v1/chat/completions", {**body, "max_tokens": 31_070})
    assert (page.status, page.json["error"]["code"]) == (400, "context_length_exceeded")


def test_embeddings() -> None:
    stage = Stage()
    body = {"model": "text-embedding-3-small", "input": ["one", "two"], "dimensions": 16}
    answer = stage.ask("/v1/embeddings", body).json
    assert [len(item["embedding"]) for item in answer["data"]] == [16, 16]
    assert answer["usage"]["total_tokens"] == 5
    assert stage.ask("/v1/embeddings", body).json["data"] == answer["data"]
    assert stage.simulator.stats()["cost_nano"] == 2 * 5 * 20


def test_models_with_their_prices() -> None:
    stage = Stage()
    listed = stage.ask("/v1/models").json
    assert [model["id"] for model in listed["data"]] == [model.name for model in MODELS]
    one = stage.ask("/v1/models/gpt-4.1").json
    assert one in listed["data"]
    assert one["pricing"] == {"prompt": "0.000002", "completion": "0.000008", "input_cache_read": "0.0000005"}
    assert stage.ask("/v1/models/gpt-5").json["error"]["code"] == "model_not_found"


def test_a_fault_that_spoils_the_answer_is_billed() -> None:
    stage = Stage(faults=("bad-json",), reply_tokens=8)
    assert b"choices" in stage.chat().body
    assert stage.simulator.stats()["completion_tokens"] == 8
    assert stage.simulator.stats()["faults_injected"] == {"bad-json": 1}


def test_models_are_subject_to_faults_too() -> None:
    assert Stage(faults=("status:502@path=/models",)).ask("/v1/models").status == 502


def test_answers_can_be_graded(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(f'{{"question": "What is {i} plus {i}?", "answer": "{i + i}"}}\n' for i in range(200)))
    stage = Stage(answers=file)
    right = {}
    for model in ("deepseek-v3.2", "claude-sonnet-4.5"):
        texts = [said(stage.chat(f"Question: What is {i} plus {i}?", model=model))[0] for i in range(200)]
        right[model] = sum(text.endswith(f"\n#### {i + i}") for i, text in enumerate(texts)) / 200
    assert 0.8 < right["deepseek-v3.2"] < right["claude-sonnet-4.5"] < 1


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="rpm is -1"):
        Stage(rpm=-1)
    with pytest.raises(ConfigurationError, match="did you mean reset"):
        Stage(faults=("rest",))


BEGUN = {"role": "assistant", "content": "The answer is, if you ask me, "}


def begun(prefill: str, **more: Any) -> Page:
    stage = Stage(prefill=prefill, reply_tokens=40)
    messages = [{"role": "user", "content": "a"}, {**BEGUN, **more}]
    return stage.ask("/v1/chat/completions", {"model": "gpt-4.1", "messages": messages})


def test_a_chat_that_begins_its_own_answer() -> None:
    assert begun("ignore").json["usage"]["completion_tokens"] == 40
    left = begun("continue").json["usage"]["completion_tokens"]
    assert left == 40 - len(BEGUN["content"]) // 4
    parts = [{"type": "text", "text": BEGUN["content"]}]
    assert begun("continue", content=parts).json["usage"]["completion_tokens"] == left
    assert begun("continue", content="a" * 400).json["usage"]["completion_tokens"] == 1, "there is an end to be told"
    refused = begun("refuse")
    assert (refused.status, refused.json["error"]["param"]) == (400, "messages")
    assert "goes on with no assistant's message" in refused.json["error"]["message"]
    for prefill in ("continue", "refuse"):
        assert Stage(prefill=prefill, reply_tokens=40).chat("a").json["usage"]["completion_tokens"] == 40
        assert begun(prefill, role="user").json["usage"]["completion_tokens"] == 40


def test_a_known_answer_stays_when_its_beginning_is_given(tmp_path: Path) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"question": "How many?", "answer": "42"}\n')
    stage = Stage(prefill="continue", answers=answers)
    messages = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "x" * 4000}]
    page = stage.ask("/v1/chat/completions", {"model": "gpt-4.1", "messages": messages})
    assert page.json["choices"][0]["message"]["content"].startswith("\n#### ")
