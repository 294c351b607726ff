"""What a model says: how long, which words, and whether it ends with a graded answer."""

from __future__ import annotations

from typing import Final

import msgspec

from ai_client.simulator.answers import AnswerBook
from ai_client.simulator.chance import Luck, lognormal_table
from ai_client.simulator.models import MODELS, SimModel
from ai_client.simulator.prompts import CHARS_PER_TOKEN
from ai_client.simulator.prose import Prose

_LENGTH_SPREAD: Final = 0.5
_SHORTEST: Final = 8
_LONGEST: Final = 2_048
_LONGEST_WORKING: Final = 160  # tokens of reasoning before a graded answer: a bound of 200 never cuts it off
_NEXT_CHOICE: Final = 1_013  # how far apart the draws of two choices of one reply lie


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the texts of a reply: `filler` tokens of prose from the place that `draw` picks, then the `tail`.

    The tail's pieces are escaped for JSON. `tokens` is the length of all, `cut` says that the caller's bound ended it.
    """

    draw: int
    filler: int
    tail: tuple[bytes, ...]
    tokens: int
    cut: bool

    def pieces(self, prose: Prose) -> list[bytes]:
        """Its tokens, escaped for JSON."""
        return [*prose.pieces(self.draw, self.filler), *self.tail]

    def text(self, prose: Prose) -> bytes:
        """All of it, escaped for JSON."""
        text = prose.text(self.draw, self.filler)
        return text + b"".join(self.tail) if self.tail else text


def continued(choice: Choice, done: int) -> Choice:
    """What is left of it when its first `done` tokens are there already: at least one, for some reason to finish."""
    filler = max(choice.filler - done, 0 if choice.tail else 1)
    return msgspec.structs.replace(choice, filler=filler, tokens=filler + len(choice.tail))


class Generation(msgspec.Struct, frozen=True, gc=False):
    """One reply, whatever its wire format. `created` is in seconds of the calendar, `ident` hexadecimal."""

    ident: bytes
    created: int
    model: SimModel
    choices: list[Choice]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int

    @property
    def name(self) -> bytes:
        """The model's name."""
        return self.model.name.encode()


class Author:
    """Decides what the models say."""

    __slots__ = ("_book", "_lengths")

    def __init__(self, book: AnswerBook, reply_tokens: int) -> None:
        """`reply_tokens` fixes the length of every reply; 0 lets the models draw their own."""
        self._book = book
        self._lengths = {
            model.name: [reply_tokens]
            if reply_tokens
            else [min(max(n, _SHORTEST), _LONGEST) for n in lognormal_table(model.reply_tokens, _LENGTH_SPREAD)]
            for model in MODELS
            if not model.embeds
        }

    def choices(self, model: SimModel, draws: Luck, prompts: list[str], each: int, limit: int) -> list[Choice]:
        """`each` texts for each of the prompts, none longer than `limit` tokens (0: no limit)."""
        lengths = self._lengths[model.name]
        found: list[Choice] = []
        for prompt in prompts:
            answer = self._book.reply(model, prompt)
            tail = () if answer is None else _tail(answer)
            for _ in range(each):
                offset = len(found) * _NEXT_CHOICE
                length = lengths[(draws.length + offset) % len(lengths)]
                if tail:
                    length = min(length, _LONGEST_WORKING)
                found.append(_choice(draws.text + offset, length, tail, limit))
        return found


def _choice(draw: int, filler: int, tail: tuple[bytes, ...], limit: int) -> Choice:
    tokens = filler + len(tail)
    if not limit or tokens <= limit:
        return Choice(draw, filler, tail, tokens, cut=False)
    filler = min(filler, limit)
    return Choice(draw, filler, tail[: limit - filler], limit, cut=True)


def _tail(answer: str) -> tuple[bytes, ...]:
    """The graded answer on a line of its own, as GSM8K writes it, in pieces of a token each."""
    text = f"\n#### {answer}"
    return tuple(msgspec.json.encode(text[i : i + CHARS_PER_TOKEN])[1:-1] for i in range(0, len(text), CHARS_PER_TOKEN))
