"""Questions with known answers: found in prompts, answered right by each model's own share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.errors import ConfigurationError
from ai_client.simulator.answers import AnswerBook, load_answers
from ai_client.simulator.chance import Chance
from ai_client.simulator.models import MODELS, SimModel

SURE = SimModel("sure", "x", 1, 1, 1, accuracy=1.0)
HOPELESS = SimModel("hopeless", "x", 1, 1, 1, accuracy=0.0)
QUESTION = "Ann has 3 apples and buys 4 more. How many apples does she have?"


def book(**answers: str) -> AnswerBook:
    return AnswerBook({QUESTION: "7", **answers}, Chance(1))


@pytest.mark.parametrize(
    "prompt",
    [
        QUESTION,
        f"  {QUESTION}\n",
        f"Question: {QUESTION}",
        f"Solve this.\n\n{QUESTION}\n\nThink step by step.",
        f'The problem: "{QUESTION}" End with the number.',
    ],
)
def test_a_question_is_found_inside_a_prompt(prompt: str) -> None:
    assert book().reply(SURE, prompt) == "7"


@pytest.mark.parametrize(
    "prompt", ["", "What?", QUESTION[:-1], f"Is this a question{QUESTION}", "Ann has 3 apples and b"]
)
def test_other_prompts_hold_none(prompt: str) -> None:
    assert book().reply(SURE, prompt) is None


def test_an_empty_book_knows_nothing() -> None:
    assert AnswerBook({}, Chance(1)).reply(SURE, QUESTION) is None


def test_of_two_questions_that_begin_alike_the_longer_is_meant() -> None:
    longer = QUESTION + " And how many pears?"
    assert AnswerBook({QUESTION: "7", longer: "0"}, Chance(1)).reply(SURE, f"Q: {longer}") == "0"


@pytest.mark.parametrize("right", ["7", "-3", "0", "1,200", "70000", "3.5", "1e9", "blue", "unknown"])
def test_a_wrong_answer_differs_from_the_right_one(right: str) -> None:
    for seed in range(40):
        assert AnswerBook({QUESTION: right}, Chance(seed)).reply(SURE, QUESTION) == right
        wrong = AnswerBook({QUESTION: right}, Chance(seed)).reply(HOPELESS, QUESTION)
        assert wrong is not None
        assert wrong != right
        assert wrong.replace(",", "") != right.replace(",", "")


def rights(seed: int) -> dict[str, set[int]]:
    questions = {f"Question number {i} of a long series: how many?": str(i) for i in range(3_000)}
    many = AnswerBook(questions, Chance(seed))
    chat = [model for model in MODELS if not model.embeds]
    return {
        model.name: {i for i, (text, right) in enumerate(questions.items()) if many.reply(model, text) == right}
        for model in chat
    }


def test_each_model_is_right_as_often_as_it_should_and_always_on_the_same_questions() -> None:
    found = rights(1)
    for model in MODELS:
        if not model.embeds:
            assert len(found[model.name]) / 3_000 == pytest.approx(model.accuracy, abs=0.02)
    assert rights(1) == found
    assert rights(2) != found


def test_what_one_model_misses_is_hard_for_the_others() -> None:
    found = rights(1)
    missed = set(range(3_000)) - found["deepseek-v3.2"]
    also_missed = missed - found["gpt-4.1"]
    assert len(also_missed) / len(missed) > 3 * (1 - 0.945)  # far above chance
    assert len(also_missed) < len(missed)  # yet a better model helps


def test_a_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text(
        '{"id": "x", "question": "How many?", "answer": "18"}\n'
        "\n"
        '{"question": "Worked out, how many?", "answer": "3 + 4 = 7\\n#### 7"}\n'
        '{"question": "As a number?", "answer": 42}\n'
    )
    loaded = load_answers(file, Chance(1))
    assert len(loaded) == 3
    assert [loaded.reply(SURE, text) for text in ("How many?", "Worked out, how many?", "As a number?")] == [
        "18",
        "7",
        "42",
    ]


def test_every_bad_line_is_named(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_bytes(
        b'{"question": "a"}\nnot json\n{"question": "\xff", "answer": "1"}\n{"question": " ", "answer": "1"}\n'
    )
    with pytest.raises(ConfigurationError) as caught:
        load_answers(file, Chance(1))
    assert [problem.split(":")[0].rpartition(", ")[2] for problem in caught.value.problems] == [
        "line 1",
        "line 2",
        "line 3",
        "line 4",
    ]
    file.write_text("no\n" * 50)
    with pytest.raises(ConfigurationError, match="and 30 more lines"):
        load_answers(file, Chance(1))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gone\.jsonl: the answers cannot be read"):
        load_answers(tmp_path / "gone.jsonl", Chance(1))
