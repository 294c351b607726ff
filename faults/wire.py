"""What a sound answer and each fault put on the wire, as steps: bytes, pauses, and the way it ends."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from typing import Final

REASON: Final = "the quokka is on strike"
"""What the provider gives as its reason, wherever it gives one: it has to reach the caller."""
PREFILL_REFUSED: Final = "no_prefill_here"
"""What a model says that takes nothing up: it is no answer to the caller's question, and must not reach it."""
HEAD_LIMIT: Final = 1024 * 1024
"""A head larger than anybody accepts, in bytes."""
_DRIP_BYTES: Final = 48
_DRIP_SECONDS: Final = 0.02


class End(enum.Enum):
    """How a connection ends before its time."""

    RESET = enum.auto()
    CLOSE = enum.auto()
    SILENCE = enum.auto()
    PINGS = enum.auto()
    """Comments for ever: the connection is alive, and the answer never begins."""


Step = bytes | float | End
Steps = list[Step]

JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"


def answer_text(cell: str) -> str:
    """The one right answer to a cell."""
    return f"The answer to {cell} is whole."


def head(kind: str = JSON, length: int | None = None, status: int = 200, *more: str) -> bytes:
    """A head; without a length its body comes in chunks."""
    framing = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return "\r\n".join((f"HTTP/1.1 {status} S", f"content-type: {kind}", framing, *more, "", "")).encode()


def chunk(data: bytes) -> bytes:
    """A chunk of HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


_LAST: Final = b"0\r\n\r\n"
_USAGE: Final = {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}


def body_of(cell: str, model: str) -> bytes:
    """A whole completion."""
    message = {"role": "assistant", "content": answer_text(cell)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    return json.dumps({**answer, "usage": _USAGE}).encode()


def _event(model: str, delta: Mapping[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    data = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def events_of(cell: str, model: str, begun: str = "") -> list[bytes]:
    """A whole stream: the role, one word of content an event, the finish, the usage, the end. Of an answer that was
    begun elsewhere, what is left.
    """
    words = answer_text(cell).split(" ")
    spaced = [word if index == 0 else " " + word for index, word in enumerate(words)]
    while begun:
        begun = begun.removeprefix(spaced.pop(0))
    usage = {"id": "x", "object": "chat.completion.chunk", "model": model, "choices": [], "usage": _USAGE}
    return [
        _event(model, {"role": "assistant"}),
        *(_event(model, {"content": word}) for word in spaced),
        _event(model, {}, "stop"),
        b"data: " + json.dumps(usage).encode() + b"\n\n",
        b"data: [DONE]\n\n",
    ]


def error_of(code: str, kind: str = "server_error") -> bytes:
    """OpenAI's error object."""
    return json.dumps({"error": {"message": REASON, "type": kind, "param": None, "code": code}}).encode()


class Scene:
    """What a fault is done to: the sound answer to one call, and whether the fault waits for its middle."""

    def __init__(self, cell: str, model: str, *, stream: bool, mid: bool, begun: str = "") -> None:
        self.stream = stream
        self.body = body_of(cell, model)
        self.events = events_of(cell, model, begun)
        self.begun = 3 if mid else 1
        """Events before the fault: the role alone, or two words as well."""

    def sound(self) -> Steps:
        """The answer as it should be."""
        if self.stream:
            return [head(EVENTS), *(chunk(event) for event in self.events), _LAST]
        return [head(JSON, len(self.body)) + self.body]

    def part(self) -> Steps:
        """The answer up to the fault."""
        if self.stream:
            return [head(EVENTS), *(chunk(event) for event in self.events[: self.begun])]
        return [head(JSON, len(self.body)) + self.body[: len(self.body) // 2]]

    def with_events(self, events: list[bytes]) -> Steps:
        """A stream of these events, soundly framed."""
        return [head(EVENTS), *(chunk(event) for event in events), _LAST]


Break = Callable[[Scene], Steps]


def refuse(status: int, code: str, kind: str = "server_error", *headers: str) -> Break:
    """An error status with a reason."""
    body = error_of(code, kind)
    return lambda _scene: [head(JSON, len(body), status, *headers) + body]


def instead(kind: str, body: bytes, status: int = 200) -> Break:
    """Another body than was due."""
    return lambda _scene: [head(kind, len(body), status) + body]


def cut(end: End) -> Break:
    """The answer, and in its middle an end."""
    return lambda scene: [*scene.part(), end]


def pings(scene: Scene) -> Steps:
    """The role, and then nothing but comments."""
    return [head(EVENTS), chunk(scene.events[0]), End.PINGS]


def only(*steps: Step) -> Break:
    """Nothing of the answer."""
    return lambda _scene: list(steps)


def bad_gzip(scene: Scene) -> Steps:
    """Says gzip, and is none."""
    junk = b"\x1f\x8b\x08\x00this is not what gzip writes"
    return [head(EVENTS if scene.stream else JSON, len(junk), 200, "content-encoding: gzip") + junk]


def bad_json(scene: Scene) -> Steps:
    """Soundly framed JSON that breaks off."""
    if not scene.stream:
        half = scene.body[: len(scene.body) // 2]
        return [head(JSON, len(half)) + half]
    events = list(scene.events)
    events[scene.begun] = events[scene.begun][:30] + b"\n\n"
    return scene.with_events(events)


def bad_chunk(scene: Scene) -> Steps:
    """A chunk of HTTP whose length is no number."""
    if scene.stream:
        return [*scene.part(), b"zz\r\nnot a chunk\r\n"]
    return [head(), chunk(scene.body[:40]), b"zz\r\nnot a chunk\r\n"]


def cut_chunks(scene: Scene) -> Steps:
    """Chunks without the last one, then a clean end of the connection."""
    if scene.stream:
        return [*scene.part(), End.CLOSE]
    return [head(), chunk(scene.body[: len(scene.body) // 2]), End.CLOSE]


def cut_length(scene: Scene) -> Steps:
    """Fewer bytes than the content-length, then a clean end of the connection."""
    if not scene.stream:
        return [*scene.part(), End.CLOSE]
    data = b"".join(scene.events)
    return [head(EVENTS, len(data)) + b"".join(scene.events[: scene.begun]), End.CLOSE]


def no_done(scene: Scene) -> Steps:
    """Everything but `[DONE]`."""
    return scene.with_events(scene.events[:-1])


def no_finish(scene: Scene) -> Steps:
    """Everything but the reason for finishing."""
    return scene.with_events([event for event in scene.events if b'"stop"' not in event])


def error_event(scene: Scene) -> Steps:
    """An error as an event, then a clean end."""
    return scene.with_events([*scene.events[: scene.begun], b"data: " + error_of("server_error") + b"\n\n"])


def wrong_type(scene: Scene) -> Steps:
    """A whole answer where a stream was asked, and the other way round."""
    if scene.stream:
        return [head(JSON, len(scene.body)) + scene.body]
    return scene.with_events(scene.events)


def extra(scene: Scene) -> Steps:
    """A sound answer, and something behind it."""
    return [*scene.sound()[:-1], _joined(scene.sound()[-1], b"and more that nobody asked for\r\n\r\n")]


def drip(scene: Scene) -> Steps:
    """The sound answer, a few bytes at a time."""
    data = b"".join(step for step in scene.sound() if isinstance(step, bytes))
    steps: Steps = []
    for at in range(0, len(data), _DRIP_BYTES):
        steps += [data[at : at + _DRIP_BYTES], _DRIP_SECONDS]
    return steps


def _joined(step: Step, data: bytes) -> Step:
    assert isinstance(step, bytes)
    return step + data
