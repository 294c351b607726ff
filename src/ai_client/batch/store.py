"""The answers and the errors of a batch: what a run writes, and what the next one learns from it.

The output file is its own journal. Every answer's `id` names the job and the line it belongs to, so nothing else has to
be kept, and nothing can disagree with it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from ai_client.batch.job import Fingerprint
from ai_client.batch.writer import LineFile
from ai_client.errors import InvalidRequestError
from ai_client.model.usage import NO_USAGE, Usage
from ai_client.providers.openai.answers import AnswerFields

_NANO: Final = 1_000_000_000
_BEGINNING: Final = b'{"id":"batch_req_'


class Answered(msgspec.Struct, frozen=True, gc=False):
    """An answer. `body` is its JSON; `cost_nano` is in nano-dollars, `latency_ns` in nanoseconds.

    `model` is the one that answered, by the name callers use; `cache` as in the call's record.
    """

    line: int
    custom_id: str
    status: int
    request_id: str
    body: bytes
    model: str
    target: str
    attempts: int
    cache: str
    cost_nano: int
    latency_ns: int
    usage: Usage


class Failed(msgspec.Struct, frozen=True, gc=False):
    """A line without an answer. `status` is None when nothing was sent, the line itself being wrong.

    `retryable` says whether the next run tries it again.
    """

    line: int
    custom_id: str | None
    code: str
    message: str
    status: int | None = None
    retryable: bool = False


class Details(msgspec.Struct, frozen=True, gc=False):
    """`ai_client` of an answer: what OpenAI's shape has no place for. `cost_usd` is in
    dollars, `latency_ms` in milliseconds.
    """

    line: int = 0
    model: str = ""
    target: str = ""
    attempts: int = 0
    cache: str = ""
    cost_usd: float = 0.0
    latency_ms: float = 0.0


class _Response(msgspec.Struct, gc=False):
    status_code: int
    request_id: str
    body: msgspec.Raw


class _AnswerLine(msgspec.Struct, gc=False):
    id: str
    custom_id: str
    response: _Response
    error: None
    ai_client: Details


class _Error(msgspec.Struct, gc=False):
    code: str
    message: str


class _ErrorLine(msgspec.Struct, gc=False):
    id: str
    custom_id: str | None
    line: int
    response: None
    error: _Error
    status: int | None
    retryable: bool


class _FormerResponse(msgspec.Struct, gc=False):
    body: AnswerFields


class _Former(msgspec.Struct, gc=False):
    """What the next run reads of an answer; tools that drop the unknown may have dropped our details."""

    id: str
    response: _FormerResponse
    ai_client: Details = Details()


class _FormerError(msgspec.Struct, gc=False):
    id: str
    status: int | None = None
    retryable: bool = False


_former = msgspec.json.Decoder(_Former)
_former_error = msgspec.json.Decoder(_FormerError)


class Store:
    """Two files of lines, locked for one run: `output` with the answers, `errors` with the lines that have none."""

    def __init__(self, output: Path, errors: Path, job: Fingerprint, lines: int) -> None:
        """Open both for a job of so many `lines`; what stands in them stays.

        Raises `InvalidRequestError` when they cannot be used, or when another run is using them.
        """
        self._job = job
        self._lines = lines
        self._done = bytearray(lines // 8 + 1)
        self._errors_path = errors
        self._output = _locked(output)
        try:
            self._errors = _locked(errors)
        except InvalidRequestError:
            self._output.close()
            raise

    def is_empty(self) -> bool:
        """Does the output hold nothing?"""
        return self._output.size == 0

    def clear(self) -> None:
        """Begin anew: throw away what both files hold."""
        self._output.clear()
        self._errors.clear()

    def resume(self, answered: Callable[[Answered], None], *, retry_errors: bool) -> int:
        """Learn from both files what is done; returns how many earlier errors stand.

        `answered` hears of every answer there is, without its body. Lines that were refused stay refused unless
        `retry_errors`; other errors are forgotten, for their lines come again. Raises `InvalidRequestError` when a
        file belongs to another job, OSError when the disk fails.
        """
        for number, text in self._whole_lines(self._output):
            answer = self._former_answer(number, text)
            if answer.line not in self:
                self._mark(answer.line)
                answered(answer)
        return self._resume_errors(keep_refused=not retry_errors)

    def __contains__(self, line: int) -> bool:
        """Is there nothing left to do for this line?"""
        return bool(self._done[line >> 3] & 1 << (line & 7))

    def answer(self, answer: Answered) -> None:
        """Write an answer down. Raises OSError when it cannot be."""
        line = _AnswerLine(
            self._job.request_id(answer.line),
            answer.custom_id,
            # JSON has line ends only between its tokens, where a space says the same
            _Response(
                answer.status,
                answer.request_id,
                msgspec.Raw(answer.body.replace(b"\n", b" ").replace(b"\r", b" ")),
            ),
            None,
            Details(
                answer.line,
                answer.model,
                answer.target,
                answer.attempts,
                answer.cache,
                answer.cost_nano / _NANO,
                round(answer.latency_ns / 1e6, 3),
            ),
        )
        self._output.append(msgspec.json.encode(line) + b"\n")

    def failure(self, failed: Failed) -> None:
        """Write down that a line has no answer, and why. Raises OSError when it cannot be."""
        line = _ErrorLine(
            self._job.request_id(failed.line),
            failed.custom_id,
            failed.line,
            None,
            _Error(failed.code, failed.message),
            failed.status,
            failed.retryable,
        )
        self._errors.append(msgspec.json.encode(line) + b"\n")

    def sync(self) -> None:
        """Wait until the disk has every answer. Raises OSError."""
        self._output.sync()

    def close(self) -> None:
        """Sync and close both; an errors file without errors goes. Raises OSError when the disk failed."""
        try:
            self._output.close()
        finally:
            self._errors.close()
        if self._errors.size == 0:
            self._errors_path.unlink(missing_ok=True)

    def _mark(self, line: int) -> None:
        self._done[line >> 3] |= 1 << (line & 7)

    def _whole_lines(self, file: LineFile) -> Iterator[tuple[int, bytes]]:
        """The numbered lines of a file; a last one that a crash tore is cut off, once all before it were ours."""
        for number, text in enumerate(file.lines(), 1):
            if text.endswith(b"\n"):
                yield number, text
            elif _BEGINNING.startswith(text[: len(_BEGINNING)]) or not text.strip(b"\0"):  # zeros: a power cut
                file.cut(len(text))
            else:
                raise self._not_ours(file, number, "was not written by this command")

    def _former_answer(self, number: int, text: bytes) -> Answered:
        try:
            former = _former.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_ours(self._output, number, f"is no answer of a batch ({error})") from None
        line = self._line(self._output, number, former.id)
        told, body = former.ai_client, former.response.body
        return Answered(
            line,
            "",
            0,
            "",
            b"",
            told.model or body.model or "",
            told.target,
            told.attempts,
            told.cache,
            round(told.cost_usd * _NANO),
            round(told.latency_ms * 1e6),
            (body.usage and body.usage.usage()) or NO_USAGE,
        )

    def _resume_errors(self, *, keep_refused: bool) -> int:
        """Rewrite the errors file with those errors that stand; it is replaced whole, or not at all."""
        if self._errors.size == 0:
            return 0
        kept = 0
        rewritten = self._errors_path.with_name(self._errors_path.name + ".new")
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(rewritten.open("wb"))
            stack.callback(rewritten.unlink, missing_ok=True)
            for number, text in self._whole_lines(self._errors):
                line, stands = self._former_error(number, text)
                if stands and keep_refused and line not in self:
                    self._mark(line)
                    file.write(text)
                    kept += 1
            file.flush()
            os.fsync(file.fileno())
            rewritten.replace(self._errors_path)
        self._errors.close()
        self._errors = _locked(self._errors_path)
        return kept

    def _former_error(self, number: int, text: bytes) -> tuple[int, bool]:
        """Its line, and whether it stands: what the provider refused would be refused again."""
        try:
            former = _former_error.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_ours(self._errors, number, f"is no error of a batch ({error})") from None
        line = self._line(self._errors, number, former.id)
        return line, former.status is not None and not former.retryable

    def _line(self, file: LineFile, number: int, request_id: str) -> int:
        try:
            line = self._job.line(request_id)
        except ValueError as error:
            raise self._not_ours(file, number, str(error)) from None
        if not 1 <= line <= self._lines:
            raise self._not_ours(file, number, "is of a line that the input does not have")
        return line

    def _not_ours(self, file: LineFile, number: int, why: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"{file.path}, line {number}: {why}. Write to another file, or begin anew with --fresh"
        )


def _locked(path: Path) -> LineFile:
    file = LineFile(path)
    try:
        file.lock()
    except InvalidRequestError:
        file.close()
        raise
    return file
