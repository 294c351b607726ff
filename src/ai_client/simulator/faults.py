"""Faults: what can go wrong, how it is asked for, and whether it strikes this time.

A specification is `NAME[:ARGUMENT][@OPTION=VALUE,…]`: `reset@p=0.02`, `status:503@every=10`,
`stall@from=5,to=8,model=gpt-4.1`. What each does to an answer is in `breakage.py`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from ai_client.errors import ConfigurationError
from ai_client.simulator.chance import Chance, Occurrences

_SECOND_NS: Final = 1_000_000_000


class Kind(msgspec.Struct, frozen=True):
    """One kind of fault.

    `argument` names what may follow the colon, empty when nothing may; `choices` are the values that it may have,
    the first one by default. `streams_only`: an answer that is not streamed is left alone. `instead`: nothing is
    generated, so nothing is billed, and the same request sent again gets the answer that this one would have got.
    """

    name: str
    meaning: str
    argument: str = ""
    choices: tuple[str, ...] = ()
    streams_only: bool = False
    instead: bool = False


KINDS: Final = (
    Kind(
        "status",
        "an error status in OpenAI's shape; `retry-after=SECONDS` adds the header",
        "CODE",
        ("500", "400", "401", "403", "404", "408", "409", "429", "502", "503", "504", "529"),
        instead=True,
    ),
    Kind("context-length", "status 400 with the code context_length_exceeded", instead=True),
    Kind("content-filter", "status 400 with the code content_filter", instead=True),
    Kind("reset", "the connection is reset before anything is answered", instead=True),
    Kind("reset-after-headers", "the connection is reset after the status line and headers"),
    Kind(
        "cut",
        "the answer is cut off mid-way: by a reset, by a clean TCP end with its framing unfinished, or by a clean end "
        "of an answer without framing, which only its content betrays",
        "HOW",
        ("reset", "fin", "close"),
    ),
    Kind("no-done", "a stream ends cleanly without its last event", streams_only=True),
    Kind("no-finish", "a stream ends without any finish_reason", streams_only=True),
    Kind("no-usage", "an answer comes without its count of tokens, asked for or not"),
    Kind("bad-json", "the JSON of a chunk, or of the whole answer, breaks off"),
    Kind("sse-error", "an error object comes as an event mid-stream, then the stream ends", streams_only=True),
    Kind(
        "length",
        "the content-length is wrong: 100 bytes more than come, or 10 bytes fewer",
        "HOW",
        ("more", "fewer"),
    ),
    Kind("empty", "status 200 and an empty body", instead=True),
    Kind("html", "an HTML page, as a proxy in between would send", "CODE", ("502", "200"), instead=True),
    Kind("bad-gzip", "content-encoding: gzip, and a body that is not gzip", instead=True),
    Kind("stall", "nothing comes at all; `for=SECONDS` ends the wait, then the answer comes"),
    Kind("stall-mid", "the answer stops coming mid-way; `for=SECONDS` ends the wait"),
    Kind("drip", "the answer comes 16 bytes at a time, each the given number of milliseconds after the last", "MS"),
)  # fmt: skip
"""Every kind, in the order of the reference."""

OPTIONS: Mapping[str, str] = {
    "p": "strike with this probability (drawn from the seed, the body and how often it came)",
    "every": "strike every Nth request that the other options match",
    "at": "strike once: at the first request that comes this many seconds after the start",
    "from": "strike from this second after the start",
    "to": "strike until this second after the start",
    "times": "strike at most this often",
    "model": "strike only requests for this model",
    "path": "strike only requests whose path ends so, such as /embeddings",
    "after": "mid-way means after this many events of a stream; by default half of them",
    "for": "how many seconds a stall lasts; without it, until the client gives up",
    "retry-after": "seconds; sent with a status",
}
"""Every option. The start is that of the simulator, or the last change of its faults."""

_DEFAULT_DRIP_MS: Final = "20"
_KIND_BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


class Fault(msgspec.Struct):
    """One fault that may strike: its specification, read. Times are seconds; -1 and infinity stand for not given."""

    spec: str
    kind: Kind
    argument: str
    probability: float = 1.0
    every: int = 1
    at: float = -1.0
    begin: float = 0.0
    end: float = math.inf
    times: float = math.inf
    model: str = ""
    path: str = ""
    after: int = -1
    lasts: float = math.inf
    retry_after: float = -1.0
    seen: int = 0
    struck: int = 0

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.kind.name


class FaultBook:
    """The faults in force, in order; the first one that strikes is the one that happens."""

    __slots__ = ("_attempts", "_chance", "_started_ns", "counts", "faults")

    def __init__(self, specs: Iterable[str], chance: Chance, now_ns: int) -> None:
        """Raises `ConfigurationError` naming every specification that makes no sense."""
        self._chance = chance
        self.counts: dict[str, int] = {}
        self.replace(specs, now_ns)

    def replace(self, specs: Iterable[str], now_ns: int) -> None:
        """Put other faults in force; their clock starts now. What struck so far stays counted. Raises as above."""
        self.faults = parse_all(specs)
        self._attempts = Occurrences()
        self._started_ns = now_ns

    def reset(self, now_ns: int) -> None:
        """Begin anew with the same faults."""
        self.counts.clear()
        self.replace([fault.spec for fault in self.faults], now_ns)

    def strike(self, path: str, model: str, body: bytes, now_ns: int, *, stream: bool) -> Fault | None:
        """The fault that happens to this request, if any. `model` is empty where there is none."""
        if not self.faults:
            return None
        seconds = (now_ns - self._started_ns) / _SECOND_NS
        digest = self._chance.digest(b"fault", path.encode(), body)
        attempt = self._attempts.count(digest).to_bytes(8, "little")
        for index, fault in enumerate(self.faults):
            if not _matches(fault, path, model, seconds, stream=stream):
                continue
            fault.seen += 1
            if fault.seen % fault.every:
                continue
            draw = (b"strike", digest, attempt, index.to_bytes(4, "little"))
            if fault.probability < 1 and self._chance.uniform(*draw) >= fault.probability:
                continue
            fault.struck += 1
            self.counts[fault.name] = self.counts.get(fault.name, 0) + 1
            return fault
        return None


def _matches(fault: Fault, path: str, model: str, seconds: float, *, stream: bool) -> bool:
    if fault.struck >= fault.times or (fault.kind.streams_only and not stream):
        return False
    if (fault.model and fault.model != model) or not path.endswith(fault.path):
        return False
    if fault.at >= 0:
        return seconds >= fault.at and not fault.struck
    return fault.begin <= seconds < fault.end


def parse_all(specs: Iterable[str]) -> list[Fault]:
    """Read specifications. Raises `ConfigurationError` with a line for each one that makes no sense."""
    faults: list[Fault] = []
    problems: list[str] = []
    for spec in specs:
        try:
            faults.append(parse(spec))
        except ValueError as error:
            problems.append(f"fault {spec!r}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return faults


def parse(spec: str) -> Fault:
    """Read one specification. Raises ValueError saying what is wrong with it and what is allowed."""
    head, _, options = spec.strip().partition("@")
    name, colon, argument = head.partition(":")
    kind = _KIND_BY_NAME.get(name)
    if kind is None:
        raise ValueError(_unknown("fault", name, _KIND_BY_NAME))
    fault = Fault(spec, kind, _argument(kind, argument if colon else None))
    for option in filter(None, options.split(",")):
        key, equals, value = option.partition("=")
        reader = _READERS.get(key)
        if reader is None:
            raise ValueError(_unknown("option", key, _READERS))
        if not equals or not value:
            raise ValueError(f"{key} needs a value: {key}=…")
        try:
            reader(fault, value)
        except ValueError as error:
            raise ValueError(f"{key}={value}: {error}") from None
    if fault.end <= fault.begin:
        raise ValueError("to must be later than from")
    return fault


def _argument(kind: Kind, given: str | None) -> str:
    if not kind.argument:
        if given is not None:
            raise ValueError(f"{kind.name} takes nothing after a colon")
        return ""
    if kind.name == "drip":
        _number(given or _DEFAULT_DRIP_MS)
        return given or _DEFAULT_DRIP_MS
    if given is not None and given not in kind.choices:
        raise ValueError(f"{kind.name}:{given}: choose one of {', '.join(kind.choices)}")
    return given or kind.choices[0]


def _unknown(what: str, given: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(given, names, 1)
    return f"no {what} is called {given!r}; " + (f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}")


def _number(value: str, most: float = math.inf) -> float:
    try:
        number = float(value)
    except ValueError:
        raise ValueError("expected a number") from None
    if not 0 <= number <= most or math.isinf(number):
        raise ValueError(f"expected a number from 0{f' to {most:g}' if most < math.inf else ''}")
    return number


def _whole(value: str, least: int) -> int:
    if not (value.isascii() and value.isdigit() and int(value) >= least):
        raise ValueError(f"expected a whole number from {least}")
    return int(value)


def _setter(field: str, read: Callable[[str], object]) -> Callable[[Fault, str], None]:
    return lambda fault, value: setattr(fault, field, read(value))


_READERS: Mapping[str, Callable[[Fault, str], None]] = {
    "p": _setter("probability", lambda value: _number(value, 1)),
    "every": _setter("every", lambda value: _whole(value, 1)),
    "at": _setter("at", _number),
    "from": _setter("begin", _number),
    "to": _setter("end", _number),
    "times": _setter("times", lambda value: _whole(value, 1)),
    "model": _setter("model", str),
    "path": _setter("path", str),
    "after": _setter("after", lambda value: _whole(value, 0)),
    "for": _setter("lasts", _number),
    "retry-after": _setter("retry_after", _number),
}
