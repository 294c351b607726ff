"""The health gate: does the client answer, and as well as the one before it?"""

from __future__ import annotations

import http.client
import json
import socket
import time
from dataclasses import dataclass


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


def ask(address: str, method: str, path: str, body: bytes | None = None, timeout: float = 5.0) -> tuple[int, bytes]:
    """One request to `HOST:PORT` or `unix:PATH`: status and body. Raises OSError."""
    if address.startswith("unix:"):
        connection: http.client.HTTPConnection = _UnixConnection(address[5:], timeout)
    else:
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=timeout)
    headers = {"content-type": "application/json", "cache-control": "no-cache"} if body is not None else {}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"no HTTP answer: {error!r}") from None
    finally:
        connection.close()


def ready(address: str, timeout: float) -> tuple[str, dict[str, object]]:
    """Why the daemon at `address` is not ready (empty: it is), and what it says of itself."""
    try:
        status, body = ask(address, "GET", "/health/ready", timeout=timeout)
        told = json.loads(body)
    except (OSError, ValueError) as error:
        return f"/health/ready at {address} does not answer: {error}", {}
    if not isinstance(told, dict):
        return f"/health/ready at {address} answers something else", {}
    if status != 200:
        return f"/health/ready at {address} answers {status}", told
    refused = told.get("reload_failed")
    return (f"the configuration was refused: {refused}" if refused else ""), told


def sample(address: str, model: str, count: int, timeout: float, max_tokens: int = 1) -> Sample:
    """Ask `count` real questions, one after another."""
    question = {"model": model, "messages": [{"role": "user", "content": "Answer OK."}], "max_tokens": max_tokens}
    body = json.dumps(question).encode()
    failed, reason, seconds = 0, "", []
    for _ in range(count):
        begun = time.monotonic()
        try:
            status, answer = ask(address, "POST", "/v1/chat/completions", body, timeout)
        except OSError as error:
            failed, reason = failed + 1, f"no answer within {timeout:g} s ({error})"
            continue
        if status == 200:
            seconds.append(time.monotonic() - begun)
        else:
            failed, reason = failed + 1, f"status {status}: {_message(answer)}"
    return Sample(count, failed, reason, tuple(seconds))


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
