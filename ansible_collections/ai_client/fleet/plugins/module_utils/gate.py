"""The health gate: does the client answer, and as well as the one before it?"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

_QUEUED = "x-ai-client-queue-ms"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Sample:
    """What came of a few requests: how many, how many failed and the last reason, and seconds of those answered."""

    asked: int
    failed: int
    reason: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the times; 0 when nothing was answered."""
        ordered = sorted(self.seconds)
        return ordered[len(ordered) // 2] if ordered else 0.0


@dataclass(frozen=True)
class Bounds:
    """How much slower than the old one the new one may be: `ratio` times, and `floor` seconds in any case."""

    ratio: float
    floor: float


@dataclass(frozen=True)
class Question:
    """What is asked of a model, `count` times (0: never), and how many seconds an answer may take."""

    model: str
    count: int
    timeout: float
    max_tokens: int = 1


def ask(address: str, method: str, path: str) -> tuple[int, bytes]:
    """One request to `HOST:PORT` or `unix:PATH`: status and body. Raises OSError."""
    status, body, _queued = _ask(address, method, path, None, 5.0)
    return status, body


def _ask(address: str, method: str, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes, float]:
    """Status, body, and the seconds for which the client made it wait for quota. Raises OSError."""
    if address.startswith("unix:"):
        connection: http.client.HTTPConnection = _UnixConnection(address[5:], timeout)
    else:
        host, _colon, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout)
    headers = {"content-type": "application/json", "cache-control": "no-cache"} if body is not None else {}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), _seconds(answer.getheader(_QUEUED))
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from None
    finally:
        connection.close()


def _seconds(milliseconds: str | None) -> float:
    try:
        return float(milliseconds or 0) / 1e3
    except ValueError:
        return 0.0


def ready(address: str, timeout: float) -> tuple[str, dict[str, object]]:
    """Why the daemon at `address` is not ready (empty: it is), and what it says of itself."""
    try:
        status, body, _queued = _ask(address, "GET", "/health/ready", None, timeout)
        told = json.loads(body)
    except (OSError, ValueError) as error:
        return f"/health/ready at {address} does not answer: {error}", {}
    if not isinstance(told, dict):
        return f"/health/ready at {address} answers something else", {}
    if status != 200:
        return f"/health/ready at {address} answers {status}", told
    refused = told.get("reload_failed")
    return (f"the configuration was refused: {refused}" if refused else ""), told


def sample(address: str, question: Question) -> Sample:
    """Ask real questions, one after another."""
    return samples([address], question)[0]


def samples(addresses: Sequence[str], question: Question) -> list[Sample]:
    """The same at each address, in turn, so that a busy moment of the node meets all of them.

    It is over when the first one has failed more often than another: no further answer can make up for that.
    """
    answers: list[list[float | str]] = [[] for _address in addresses]
    for _time in range(question.count):
        for address, known in zip(addresses, answers):
            known.append(_once(address, question))
        failed = [sum(isinstance(answer, str) for answer in known) for known in answers]
        if failed[0] > min(failed):
            break
    return [_sample(known) for known in answers]


def _sample(answers: Sequence[float | str]) -> Sample:
    reasons = [answer for answer in answers if isinstance(answer, str)]
    seconds = tuple(answer for answer in answers if not isinstance(answer, str))
    return Sample(len(answers), len(reasons), reasons[-1] if reasons else "", seconds)


def _once(address: str, question: Question) -> float | str:
    """The seconds until the answer, without those in the queue for quota; or why there was none."""
    said = [{"role": "user", "content": "Answer OK."}]
    body = json.dumps({"model": question.model, "messages": said, "max_tokens": question.max_tokens}).encode()
    begun = time.monotonic()
    try:
        status, answer, queued = _ask(address, "POST", "/v1/chat/completions", body, question.timeout)
    except OSError as error:
        return f"no answer within {question.timeout:g} s ({error})"
    taken = time.monotonic() - begun - queued
    return max(taken, 0.0) if status == 200 else f"status {status}: {_message(answer)}"


def _message(answer: bytes) -> str:
    try:
        return str(json.loads(answer)["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer[:100].decode("utf-8", "replace")


def judge(new: Sample, old: Sample | None, bounds: Bounds) -> str:
    """Why `new` must not take over from `old`; empty when it may. Without an old one every question must be answered."""
    if new.asked and new.failed == new.asked:
        also = " (nor does the one that runs now)" if old is not None and old.failed == old.asked else ""
        return f"it answers none of {new.asked} real requests{also}; the last one: {new.reason}"
    before = old.failed / old.asked if old is not None and old.asked else 0.0
    if new.asked and new.failed / new.asked > before:
        return f"{new.failed} of {new.asked} real requests failed, {before:.0%} before; the last one: {new.reason}"
    if old is not None and old.seconds and new.seconds:
        most = max(old.median * bounds.ratio, old.median + bounds.floor)
        if new.median > most:
            return f"it takes {new.median * 1e3:.0f} ms a request; before it were {old.median * 1e3:.0f} ms"
    return ""
