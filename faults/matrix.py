"""The cells of the matrix, generated, and the rule that says what has to come of each."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from faults import wire
from faults.wire import Break, End

FACES: Final = ("library", "daemon", "batch")
Where = Literal["once", "target", "middle", "everywhere"]
"""`once`: the first try fails, the next would do. `target`: every try at the model that was asked for fails, and its
fallback would do. `middle`: the same, when half of the answer has come. `everywhere`: the fallback fails too."""
Mode = Literal["plain", "whole", "continued", "refused"]
"""How a stream is asked for. `whole`: held until it is whole, so that a break in its middle is rescued, too.
`continued`: the fallback's model may take up what broke off. `refused`: it may, but does not."""
Blame = Literal["provider", "caller", "prompt", "network", "nobody"]
"""Whose fault it is. `caller`: another try cannot help. `prompt`: only another model can. `network`: there is no
connection, from the first try on. `nobody`: odd, and the answer is whole."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    `statuses` are those that may come of it where nobody rescues the call; `reason` says whether the provider gives
    one, which then has to reach the caller. `early` and `middle`: whether it can strike before the first content,
    and after.
    """

    name: str
    act: Break | None
    statuses: tuple[int, ...]
    blame: Blame = "provider"
    reason: bool = False
    early: bool = True
    middle: bool = False
    streams_only: bool = False
    ended: bool = False
    """The text is whole and says so before the fault: nobody can take it up."""


_BROKEN: Final = (502,)
_SILENT: Final = (504,)
_DAY: Final = "Fri, 01 Jan 2100 00:00:00 GMT"


def _status(name: str, status: int, code: str, *headers: str, blame: Blame = "provider") -> Fault:
    kind = "invalid_request_error" if status == 400 else "server_error"
    return Fault(name, wire.refuse(status, code, kind, *headers), (status,), blame, reason=True)


FAULTS: Final = (
    _status("429 for 1 s", 429, "rate_limit_exceeded", "retry-after: 1"),
    _status("429 in ms", 429, "rate_limit_exceeded", "retry-after-ms: 300"),
    _status("429 until 2100", 429, "rate_limit_exceeded", f"retry-after: {_DAY}"),
    _status("429 bare", 429, "rate_limit_exceeded"),
    _status("500", 500, "server_error"),
    _status("502", 502, "bad_gateway"),
    _status("503", 503, "unavailable"),
    _status("529 overloaded", 529, "overloaded_error"),
    _status("401", 401, "invalid_api_key", blame="caller"),
    _status("400 invalid", 400, "invalid_request", blame="caller"),
    _status("content policy", 400, "content_policy_violation", blame="caller"),
    _status("context length", 400, "context_length_exceeded", blame="prompt"),
    Fault("refused", None, _BROKEN, "network"),
    Fault("black hole", None, _SILENT, "network"),
    Fault("not TLS", None, _BROKEN, "network"),
    Fault("no such host", None, (502, 504), "network"),
    Fault("reset at once", wire.only(End.RESET), _BROKEN),
    Fault("closed at once", wire.only(End.CLOSE), _BROKEN),
    Fault("silent", wire.only(End.SILENCE), _SILENT),
    Fault("head, then reset", wire.only(wire.head(), End.RESET), _BROKEN),
    Fault("reset", wire.cut(End.RESET), _BROKEN, middle=True),
    Fault("stall", wire.cut(End.SILENCE), _SILENT, middle=True),
    Fault("pings only", wire.pings, _SILENT, streams_only=True),
    Fault("short of its length", wire.cut_length, _BROKEN, middle=True),
    Fault("no last chunk", wire.cut_chunks, _BROKEN, middle=True),
    Fault("bad chunk", wire.bad_chunk, _BROKEN, middle=True),
    Fault("bad JSON", wire.bad_json, _BROKEN, middle=True),
    Fault("no [DONE]", wire.no_done, _BROKEN, early=False, middle=True, streams_only=True, ended=True),
    Fault("no finish_reason", wire.no_finish, _BROKEN, early=False, middle=True, streams_only=True),
    Fault("error event", wire.error_event, _BROKEN, reason=True, middle=True, streams_only=True),
    Fault("broken gzip", wire.bad_gzip, _BROKEN),
    Fault("empty", wire.instead(wire.JSON, b""), _BROKEN),
    Fault("HTML with 200", wire.instead("text/html", b"<html><h1>Bad Gateway</h1></html>"), _BROKEN),
    Fault("HTML with 502", wire.instead("text/html", b"<html><h1>Bad Gateway</h1></html>", 502), _BROKEN),
    Fault("error with 200", wire.instead(wire.JSON, wire.error_of("server_error")), _BROKEN, reason=True),
    Fault("wrong content type", wire.wrong_type, _BROKEN),
    Fault("not HTTP", wire.only(b"SSH-2.0-OpenSSH_9.2\r\n" * 3, End.CLOSE), _BROKEN),
    Fault("huge head", wire.only(b"HTTP/1.1 200 OK\r\nx: " + b"a" * wire.HEAD_LIMIT), _BROKEN),
    Fault("slow drip", wire.drip, (), "nobody"),
    Fault("bytes behind it", wire.extra, (), "nobody"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One call."""

    name: str
    fault: Fault
    where: Where
    stream: bool
    face: str
    mode: Mode = "plain"

    @property
    def rescue_due(self) -> bool:
        """The rule: a call is rescued when something that may be tried would answer it, and nothing was shown yet.

        What the caller got wrong is not tried again, and of a stream whose content has begun nothing is taken back.
        """
        if self.fault.blame == "nobody":
            return True
        if self.where == "everywhere" or self.fault.blame == "caller":
            return False
        if self.stream and self.where == "middle":
            return self.mode == "whole" or (self.mode == "continued" and not self.fault.ended)
        return True


def matrix() -> list[Cell]:
    """Every cell: each fault, wherever it can strike, streamed or not, through each face (a batch never streams)."""
    cells = []
    wheres: tuple[Where, ...] = get_args(Where)
    for number, (fault, where, stream, face) in enumerate(itertools.product(FAULTS, wheres, (False, True), FACES)):
        if _makes_sense(fault, where, face, stream=stream):
            cells.append(Cell(f"c{number}", fault, where, stream, face))
    # what the mode changes nothing of is not repeated: only what breaks off after the first content
    for mode in get_args(Mode)[1:]:
        begun = [cell for cell in cells if cell.stream and cell.where == "middle" and cell.mode == "plain"]
        cells += [replace(cell, name=f"{cell.name}{mode}", mode=mode) for cell in begun]
    return cells


def _makes_sense(fault: Fault, where: str, face: str, *, stream: bool) -> bool:
    if (face == "batch" and stream) or (fault.streams_only and not stream):
        return False
    if fault.blame == "network":
        return where in ("target", "everywhere")
    if where == "middle":
        return fault.middle and stream
    return fault.early or (where == "everywhere" and stream)
