"""What a batch is: an input, what its lines leave open, and how a run of it ended."""

from __future__ import annotations

import enum
import hashlib
from pathlib import Path
from typing import Final

import msgspec

from ai_client.errors import InvalidRequestError
from ai_client.model.request import Endpoint

_CHUNK: Final = 1 << 20
_INPUT_DIGITS: Final = 10
_OPTION_DIGITS: Final = 6


class Defaults(msgspec.Struct, frozen=True):
    """What a line that does not say so itself gets.

    `endpoint` is where plain lines go; OpenAI's batch lines name theirs. `model` empty means the configured default.
    `max_tokens` bounds an answer. What a line says itself always wins.
    """

    endpoint: Endpoint = Endpoint.CHAT
    model: str = ""
    max_tokens: int | None = None
    temperature: float | None = None


class Fingerprint(msgspec.Struct, frozen=True):
    """Tells one job from another: a digest of the input's bytes, and one of the options that shape the answers.

    It is a part of every answer's `id`, so an output file says itself to what it belongs.
    """

    input: str
    options: str

    def request_id(self, line: int) -> str:
        """The `id` of the answer to a line, from 1."""
        return f"batch_req_{self.input}_{self.options}_{line}"

    def line(self, request_id: str) -> int:
        """The line that an answer of this id belongs to. Raises ValueError, saying what does not fit, otherwise."""
        head, _, number = request_id.rpartition("_")
        parts = head.split("_")
        if parts[:2] != ["batch", "req"] or len(parts) != 4 or not number.isdecimal():
            raise ValueError("was not written by this command")
        if parts[2] != self.input:
            raise ValueError("belongs to another input, or to this one before it was changed")
        if parts[3] != self.options:
            raise ValueError("was made with other options: --model, --endpoint, --max-tokens or --temperature differ")
        return int(number)


class Survey(msgspec.Struct, frozen=True):
    """An input looked over once: how many lines it has, blank ones included, and a digest of its bytes."""

    lines: int
    size: int
    digest: str

    def fingerprint(self, defaults: Defaults) -> Fingerprint:
        """Of this input with these options."""
        options = hashlib.sha256(msgspec.json.encode(defaults)).hexdigest()
        return Fingerprint(self.digest[:_INPUT_DIGITS], options[:_OPTION_DIGITS])


def survey(path: Path) -> Survey:
    """Look an input over, without holding it in memory.

    Raises `InvalidRequestError` when it is no file that can be read, and read again when the job is resumed.
    """
    if path.exists() and not path.is_file():
        raise InvalidRequestError(f"{path} is not a regular file: a batch reads its input again when it is resumed")
    digest = hashlib.sha256()
    lines = size = 0
    last = b"\n"
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                lines += chunk.count(b"\n")
                size += len(chunk)
                last = chunk[-1:]
    except OSError as error:
        raise InvalidRequestError(f"{path} cannot be read: {error.strerror}") from None
    return Survey(lines + (last != b"\n"), size, digest.hexdigest())


class Ending(enum.Enum):
    """How a run ended. Whatever it was, running again resumes."""

    COMPLETE = "complete"  # every line was answered, or its error recorded
    INTERRUPTED = "interrupted"  # somebody stopped it
    UNAVAILABLE = "unavailable"  # nothing answers any more, and waiting did not help
    REFUSED = "refused"  # the key or token was refused: no line can be answered
    UNREADABLE = "unreadable"  # the input broke off while it was read
    WRITE_FAILED = "write_failed"  # an answer could not be written
