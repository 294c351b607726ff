"""What a run writes, and what the next one learns from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ai_client.batch.job import Defaults, Fingerprint, Survey
from ai_client.batch.store import Answered, Failed, Store
from ai_client.errors import InvalidRequestError
from ai_client.model.usage import Usage

LINES = 20
BODY = b'{"model":"m-2025","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}'
JOB = Survey(LINES, 100, "a" * 64).fingerprint(Defaults())
ANSWER = Answered(
    4, "four", 200, "req_1", BODY, "m", "p/m", 2, "miss", 1_234_567_891, 12_345_678, Usage(7, 3)
)  # fmt: skip


def open_store(folder: Path, job: Fingerprint = JOB, lines: int = LINES) -> Store:
    return Store(folder / "out.jsonl", folder / "err.jsonl", job, lines)


def resumed(folder: Path, *, retry_errors: bool = False) -> tuple[list[Answered], int, set[int]]:
    """What a run finds: earlier answers, how many errors stand, and which lines are done."""
    store = open_store(folder)
    answers: list[Answered] = []
    kept = store.resume(answers.append, retry_errors=retry_errors)
    done = {line for line in range(1, LINES + 1) if line in store}
    store.close()
    return answers, kept, done


def objects(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write(folder: Path, *entries: Answered | Failed) -> None:
    store = open_store(folder)
    store.resume(lambda _answer: None, retry_errors=False)
    for entry in entries:
        if isinstance(entry, Answered):
            store.answer(entry)
        else:
            store.failure(entry)
    store.close()


def test_an_answer_has_the_shape_of_openai(tmp_path: Path) -> None:
    write(tmp_path, ANSWER)
    (line,) = objects(tmp_path / "out.jsonl")
    assert line == {
        "id": JOB.request_id(4),
        "custom_id": "four",
        "response": {"status_code": 200, "request_id": "req_1", "body": json.loads(BODY)},
        "error": None,
        "ai_client": {
            "line": 4,
            "model": "m",
            "target": "p/m",
            "attempts": 2,
            "cache": "miss",
            "cost_usd": 1.234567891,
            "latency_ms": 12.346,
        },
    }
    assert not (tmp_path / "err.jsonl").exists()


def test_a_body_on_several_lines_becomes_one_line(tmp_path: Path) -> None:
    pretty = json.dumps({"model": "m", "text": "a\nb"}, indent=2).replace("\n", "\r\n").encode()
    write(tmp_path, msgspec.structs.replace(ANSWER, body=pretty))
    (line,) = objects(tmp_path / "out.jsonl")
    assert line["response"]["body"] == {"model": "m", "text": "a\nb"}


def test_an_error_says_which_line_and_why(tmp_path: Path) -> None:
    write(
        tmp_path, Failed(3, None, "invalid_line", "line 3: broken"), Failed(5, "five", "overloaded", "busy", 503, True)
    )
    first, second = objects(tmp_path / "err.jsonl")
    assert first == {
        "id": JOB.request_id(3),
        "custom_id": None,
        "line": 3,
        "response": None,
        "error": {"code": "invalid_line", "message": "line 3: broken"},
        "status": None,
        "retryable": False,
    }
    assert (second["custom_id"], second["status"], second["retryable"]) == ("five", 503, True)


def test_the_next_run_learns_what_was_answered(tmp_path: Path) -> None:
    write(tmp_path, ANSWER)
    answers, kept, done = resumed(tmp_path)
    assert kept == 0
    assert done == {4}
    expected = msgspec.structs.replace(ANSWER, custom_id="", status=0, request_id="", body=b"", latency_ns=12_346_000)
    assert answers == [expected]


def test_answers_whose_details_some_tool_dropped_still_count(tmp_path: Path) -> None:
    write(tmp_path, ANSWER)
    (line,) = objects(tmp_path / "out.jsonl")
    del line["ai_client"]
    (tmp_path / "out.jsonl").write_text(json.dumps(line) + "\n")
    ((answer,), _, done) = resumed(tmp_path)
    assert done == {4}
    assert (answer.model, answer.usage, answer.cost_nano) == ("m-2025", Usage(7, 3), 0)


def test_an_answer_without_usage_counts_no_tokens(tmp_path: Path) -> None:
    write(tmp_path, msgspec.structs.replace(ANSWER, body=b'{"data":[]}'))
    ((answer,), _, _) = resumed(tmp_path)
    assert answer.usage == Usage()


def test_an_answer_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    write(tmp_path, ANSWER, ANSWER)
    answers, _, done = resumed(tmp_path)
    assert len(answers) == 1
    assert done == {4}


FAILURES = (
    Failed(1, None, "invalid_line", "broken"),
    Failed(2, "b", "model_not_found", "no such model", 404),
    Failed(3, "c", "upstream_timeout", "silent", 504, True),
)


def test_errors_that_may_pass_are_forgotten_and_refusals_stand(tmp_path: Path) -> None:
    write(tmp_path, *FAILURES)
    assert resumed(tmp_path) == ([], 1, {2})
    (kept,) = objects(tmp_path / "err.jsonl")
    assert kept["custom_id"] == "b"


def test_refusals_are_forgotten_too_when_asked(tmp_path: Path) -> None:
    write(tmp_path, *FAILURES)
    assert resumed(tmp_path, retry_errors=True) == ([], 0, set())
    assert not (tmp_path / "err.jsonl").exists()


def test_a_line_that_was_answered_after_all_is_no_error(tmp_path: Path) -> None:
    write(tmp_path, msgspec.structs.replace(ANSWER, line=2), FAILURES[1])
    _, kept, done = resumed(tmp_path)
    assert (kept, done) == (0, {2})
    assert not (tmp_path / "err.jsonl").exists()


@pytest.mark.parametrize("name", ["out.jsonl", "err.jsonl"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, name: str) -> None:
    write(tmp_path, ANSWER, FAILURES[1])
    path = tmp_path / name
    whole = path.read_bytes()
    for torn in (whole[:-1], whole[:30], whole[:5], b"\0\0\0"):
        path.write_bytes(whole + torn)
        _, kept, done = resumed(tmp_path)
        assert (kept, done) == (1, {2, 4})
        assert path.read_bytes() == whole


@pytest.mark.parametrize("name", ["out.jsonl", "err.jsonl"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"my only copy", "line 1: was not written by this command"),
        (b'{"id":"x"', "line 1: was not written by this command"),
        (b"my only copy\n", r"line 1: is no (answer|error) of a batch"),
        (b"\xff\xfe\n", r"line 1: is no (answer|error) of a batch"),
        (b'{"id":"batch_req_1_2_3","response":{"body":{}}}\n', "line 1: belongs to another input"),
        (b'{"id":"%s","response":{"body":{}}}\n' % JOB.request_id(21).encode(), "a line that the input does not have"),
        (b'{"id":"%s","response":{"body":{}}}\n' % JOB.request_id(0).encode(), "a line that the input does not have"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequestError, match=said):
        resumed(tmp_path)
    assert (tmp_path / name).read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} == {"out.jsonl", "err.jsonl"}


def test_answers_to_other_options_are_refused(tmp_path: Path) -> None:
    write(tmp_path, ANSWER)
    other = open_store(tmp_path, Survey(LINES, 100, "a" * 64).fingerprint(Defaults(model="m")))
    with pytest.raises(InvalidRequestError, match=r"other options.*--fresh"):
        other.resume(lambda _answer: None, retry_errors=False)
    other.close()


def test_a_store_can_be_begun_anew(tmp_path: Path) -> None:
    write(tmp_path, ANSWER, FAILURES[1])
    store = open_store(tmp_path)
    assert not store.is_empty()
    store.clear()
    assert store.is_empty()
    store.close()
    assert resumed(tmp_path) == ([], 0, set())


def test_two_runs_cannot_share_an_output(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(InvalidRequestError, match="another run"):
        open_store(tmp_path)
    store.sync()
    store.close()
    open_store(tmp_path).close()


def test_two_runs_cannot_share_an_errors_file(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(InvalidRequestError, match=r"err\.jsonl is being written by another run"):
        Store(tmp_path / "other.jsonl", tmp_path / "err.jsonl", JOB, LINES)
    store.close()


def test_errors_that_have_no_place_let_the_output_go(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be written"):
        Store(tmp_path / "out.jsonl", tmp_path / "nowhere" / "err.jsonl", JOB, LINES)
    open_store(tmp_path).close()
