"""What tells one job from another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ai_client.batch.job import Defaults, Survey, survey
from ai_client.errors import InvalidRequestError
from ai_client.model.request import Endpoint


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"", 0), (b"a\n", 1), (b"a", 1), (b"a\nb", 2), (b"a\n\nb\n", 3), (b"\n", 1), (b"x" * 3_000_000 + b"\ny", 2)],
)
def test_an_input_is_counted_in_lines(tmp_path: Path, content: bytes, lines: int) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(content)
    found = survey(path)
    assert (found.lines, found.size) == (lines, len(content))


def test_an_input_that_is_missing_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"nothing\.jsonl cannot be read: No such file"):
        survey(tmp_path / "nothing.jsonl")
    with pytest.raises(InvalidRequestError, match="not a regular file"):
        survey(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidRequestError, match="reads its input again"):
        survey(pipe)


def test_an_id_names_its_line_and_its_job() -> None:
    job = Survey(3, 10, "0123456789abcdef" * 4).fingerprint(Defaults())
    assert job.request_id(42).startswith("batch_req_0123456789_")
    assert job.line(job.request_id(42)) == 42


@pytest.mark.parametrize("text", ["", "batch_req_1", "chatcmpl-1", "batch_req_a_b_c", "batch_req_a_b_c_1", "x_y_a_b_1"])
def test_an_id_of_another_make_is_told(text: str) -> None:
    job = Survey(3, 10, "a" * 64).fingerprint(Defaults())
    with pytest.raises(ValueError, match="not written by this command"):
        job.line(text)


def test_another_input_and_other_options_are_told_apart() -> None:
    first = Survey(3, 10, "a" * 64)
    job = first.fingerprint(Defaults())
    with pytest.raises(ValueError, match="another input"):
        job.line(Survey(3, 10, "b" * 64).fingerprint(Defaults()).request_id(1))
    others = (
        Defaults(model="m"),
        Defaults(max_tokens=5),
        Defaults(temperature=0.0),
        Defaults(endpoint=Endpoint.EMBEDDINGS),
    )
    for other in others:
        with pytest.raises(ValueError, match="other options"):
            job.line(first.fingerprint(other).request_id(1))
    assert job == first.fingerprint(Defaults())
