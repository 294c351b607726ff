"""What the models say, and how long."""

from __future__ import annotations

from statistics import median

import msgspec
import pytest

from ai_client.simulator.answers import AnswerBook
from ai_client.simulator.chance import Chance, luck
from ai_client.simulator.generation import Author, Choice
from ai_client.simulator.models import MODELS
from ai_client.simulator.prose import Prose

GPT = next(model for model in MODELS if model.name == "gpt-4.1")
DRAWS = luck(Chance(1).digest(b"x"))
PROSE = Prose()


def author(reply_tokens: int = 0, answers: dict[str, str] | None = None) -> Author:
    return Author(AnswerBook(answers or {}, Chance(1)), reply_tokens)


def test_lengths_have_the_models_median() -> None:
    writer = author()
    lengths = [
        writer.choices(GPT, luck(Chance(1).digest(str(number).encode())), [""], 1, 0)[0].tokens
        for number in range(1_000)
    ]
    assert median(lengths) == pytest.approx(GPT.reply_tokens, rel=0.1)
    assert min(lengths) >= 8


def test_a_fixed_length() -> None:
    (choice,) = author(reply_tokens=33).choices(GPT, DRAWS, [""], 1, 0)
    assert (choice.tokens, choice.cut) == (33, False)
    assert len(choice.pieces(PROSE)) == 33


def test_the_callers_bound_cuts_off() -> None:
    (choice,) = author(reply_tokens=33).choices(GPT, DRAWS, [""], 1, 32)
    assert (choice.tokens, choice.cut) == (32, True)
    (choice,) = author(reply_tokens=33).choices(GPT, DRAWS, [""], 1, 33)
    assert (choice.tokens, choice.cut) == (33, False)


def test_each_prompt_gets_each_of_its_texts() -> None:
    choices = author().choices(GPT, DRAWS, ["a", "b"], 3, 0)
    assert len(choices) == 6
    assert len({choice.text(PROSE) for choice in choices}) == 6


def answered(choice: Choice) -> str:
    text: str = msgspec.json.decode(b'"' + choice.text(PROSE) + b'"')
    assert "".join(msgspec.json.decode(b'"' + piece + b'"') for piece in choice.pieces(PROSE)) == text
    assert len(choice.pieces(PROSE)) == choice.tokens
    return text


def test_a_known_answer_ends_the_reply_on_a_line_of_its_own() -> None:
    (choice,) = author(answers={"What is it?": 'a "b" \\ ü'}).choices(
        msgspec.structs.replace(GPT, accuracy=1.0), DRAWS, ["What is it?"], 1, 0
    )
    assert answered(choice).rpartition("\n")[2] == '#### a "b" \\ ü'
    assert choice.tokens <= 200


def test_a_bound_may_cut_the_answer_too() -> None:
    model = msgspec.structs.replace(GPT, accuracy=1.0)
    (choice,) = author(reply_tokens=10, answers={"What?": "12345"}).choices(model, DRAWS, ["What?"], 1, 11)
    assert answered(choice).endswith("\n###")
    assert (choice.tokens, choice.cut) == (11, True)
    (choice,) = author(reply_tokens=10, answers={"What?": "12345"}).choices(model, DRAWS, ["What?"], 1, 4)
    assert (choice.tokens, choice.tail) == (4, ())
