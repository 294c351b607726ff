"""Questions with known answers, so that a model's quality can be seen in its replies."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final

import msgspec

from ai_client.errors import ConfigurationError
from ai_client.simulator.chance import Chance, quantile
from ai_client.simulator.models import SimModel

_MARK: Final = "####"
_PREFIX_CHARS: Final = 24
_MOST_PROBLEMS: Final = 20
# Where a question may begin inside a prompt: at its start, on a line of its own, behind a label such as `Question: `.
_BEGINNINGS: Final = re.compile(r"\A\s*|\n\s*|: *\"?")
# How far the models agree on what is hard: the correlation of their luck on one question.
_SHARED_DIFFICULTY: Final = 0.6


class Entry(msgspec.Struct):
    """One line of an answers file. Of a worked solution, only what follows its last `####` counts."""

    question: str
    answer: str | int | float


class AnswerBook:
    """The known answers, found by the question inside a prompt."""

    __slots__ = ("_answers", "_by_prefix", "_chance")

    def __init__(self, answers: dict[str, str], chance: Chance) -> None:
        self._answers = answers
        self._chance = chance
        self._by_prefix: dict[str, list[str]] = {}
        for question in sorted(answers, key=len, reverse=True):  # a question that begins with another comes first
            self._by_prefix.setdefault(question[:_PREFIX_CHARS], []).append(question)

    def __len__(self) -> int:
        return len(self._answers)

    def reply(self, model: SimModel, prompt: str) -> str | None:
        """The answer that `model` gives, right or wrong, or None when the prompt holds no question of the book."""
        question = self._find(prompt)
        if question is None:
            return None
        right = self._answers[question]
        asked = question.encode()
        if self._is_right(model, asked):
            return right
        draw = int.from_bytes(self._chance.digest(b"wrong", model.name.encode(), asked)[:8], "little")
        return _wrong(right, draw)

    def _is_right(self, model: SimModel, asked: bytes) -> bool:
        """A model errs on its share of the questions, and rather on those that are hard for the others too."""
        shared = self._chance.normal(b"difficulty", asked)
        own = self._chance.normal(b"slip", model.name.encode(), asked)
        burden = shared * math.sqrt(_SHARED_DIFFICULTY) + own * math.sqrt(1 - _SHARED_DIFFICULTY)
        return burden < quantile(model.accuracy)

    def _find(self, prompt: str) -> str | None:
        if not self._answers:
            return None
        if prompt in self._answers:
            return prompt
        for match in _BEGINNINGS.finditer(prompt):
            begin = match.end()
            for question in self._by_prefix.get(prompt[begin : begin + _PREFIX_CHARS], ()):
                if prompt.startswith(question, begin):
                    return question
        return None


def load_answers(path: Path, chance: Chance) -> AnswerBook:
    """Read a file of JSON lines, each with `question` and `answer`. Blank lines are skipped.

    Raises `ConfigurationError` naming the lines that are wrong, or the file when it cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError([f"{path}: the answers cannot be read: {error.strerror}"]) from None
    decoder = msgspec.json.Decoder(Entry)
    answers: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problems.append(f"{path}, line {number}: {error}")
            continue
        question, answer = entry.question.strip(), str(entry.answer).rpartition(_MARK)[2].strip()
        if question and answer:
            answers[question] = answer
        else:
            problems.append(f"{path}, line {number}: the question or its answer is empty")
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        raise ConfigurationError(problems[:_MOST_PROBLEMS] + ([f"… and {more} more lines"] if more > 0 else []))
    return AnswerBook(answers, chance)


def _wrong(right: str, draw: int) -> str:
    """A wrong answer of the same kind and size."""
    plain = right.replace(",", "")
    try:
        number = int(plain)
    except ValueError:
        return _wrong_in_words(plain, draw)
    step = 10 ** max(len(str(abs(number))) - 2, 0)
    return str(number + (1 + draw % 9) * step * (-1 if draw & 16 and number > 0 else 1))


def _wrong_in_words(right: str, draw: int) -> str:
    try:
        return f"{float(right) + 1 + draw % 9:g}"
    except ValueError:
        return "unknown" if right != "unknown" else "nothing"
