"""What an attempt will spend, before anybody has counted: learned for each model from what answers really cost.

Input: tokens a character, as the ratio of two moving averages, so that long prompts count for as much as they cost;
with the mean deviation as headroom (V. Jacobson, SIGCOMM 1988, for another estimate that must not be too low). Output:
the caller's own bound or, where there is none, the ninth decile, tracked by stochastic approximation (H. Robbins and
S. Monro, 1951). All in integers.
"""

from __future__ import annotations

from typing import Final

from ai_client.model.request import Fields
from ai_client.model.usage import CHARS_PER_TOKEN, Usage

_USUAL_OUTPUT: Final = 256  # tokens set aside for an answer that nobody bounded
_MOST_OUTPUT: Final = 32_768  # and for one whose bound says nothing: the rest becomes debt if it is really spent
_MEMORY: Final = 16  # answers: an average forgets a sixteenth with each
_SCALE: Final = 16  # of the tracked decile, so that it moves by less than a token
_ALL_OF: Final = 64  # answers that each teach something; after them, one in a few does: it costs half a microsecond
_ONE_IN: Final = 8
_MOST_HABITS: Final = 1000


class Habit:
    """What one model's calls usually cost."""

    __slots__ = ("_chars", "_deviation", "_learned", "_output", "_tokens", "skip")

    def __init__(self) -> None:
        self._chars = 0
        self._tokens = 0
        self._deviation = 0
        self._output = _USUAL_OUTPUT * _SCALE
        self._learned = 0
        self.skip = 0

    def estimate(self, chars: int, bound: int, choices: int) -> tuple[int, int]:
        """Tokens to set aside for a prompt of so many characters, and for its answers.

        `bound` is the caller's own for each answer, 0 for none.
        """
        seen = self._chars
        before = chars * (self._tokens + self._deviation) // seen if seen else chars // CHARS_PER_TOKEN
        if not bound:
            return before, self._output // _SCALE * choices
        return before, (bound if bound < _MOST_OUTPUT else _MOST_OUTPUT) * choices  # noqa: FURB136  a call less

    def tokens(self, chars: int) -> int:
        """What so many characters come to by the learned ratio, rounded up: no headroom, for it is booked, not held."""
        seen = self._chars
        return -(-chars * self._tokens // seen) if seen else -(-chars // CHARS_PER_TOKEN)

    def learn(self, chars: int, bounded: bool, choices: int, input_tokens: int, output_tokens: int) -> None:
        """An answer cost this. To be asked for where `skip` is 0; it is counted down by whoever does not ask."""
        if self._learned < _ALL_OF:
            self._learned += 1
        else:
            self.skip = _ONE_IN - 1
        if chars and input_tokens:
            if self._chars:
                missed = abs(input_tokens - chars * self._tokens // self._chars)
                self._deviation += missed - self._deviation // _MEMORY
                self._chars += chars - self._chars // _MEMORY
                self._tokens += input_tokens - self._tokens // _MEMORY
            else:
                self._chars, self._tokens = chars * _MEMORY, input_tokens * _MEMORY
        if output_tokens and not bounded:
            step = self._output // 8 + _SCALE
            if output_tokens * _SCALE > self._output * choices:
                self._output += step * 9 // 10
            else:
                self._output -= step // 10


class Habits(dict[str, Habit]):
    """The habits of all models, made as they are asked for. Of very many, those that come late are not remembered."""

    def __missing__(self, model: str) -> Habit:
        habit = Habit()
        if len(self) < _MOST_HABITS:
            self[model] = habit
        return habit

    def count(self, model: str, fields: Fields, output_chars: int) -> Usage:
        """What the model makes of a prompt and an answer so long: see `model.usage.Count`."""
        habit = self[model]
        output = habit.tokens(output_chars)
        if fields.max_output:
            # a ratio that short prompts taught, with what comes round them, is too much for a long answer
            output = min(output, fields.max_output * fields.choices)
        return Usage(habit.tokens(fields.input_chars), output, estimated=True)
