"""What makes the events of a second answer those of the first: its id, no second beginning, one count at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ai_client.errors import BrokenReplyError
from ai_client.model.usage import NO_USAGE, Usage, as_members, plus
from ai_client.transport.sse import DONE, EventParser

_Members = dict[str, msgspec.Raw]

_object = msgspec.json.Decoder(_Members)
_objects = msgspec.json.Decoder(list[_Members])
_encode: Final = msgspec.json.encode

_NOTHING: Final = frozenset({b"", b"null", b"[]", b'""'})
_SHARED: Final = ("id", "created", "object")
"""What every chunk of one stream says alike."""


class _Counts(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Seam:
    """Rewrites the events of one part after another. `said` is the text that the caller has, None once that is whole or
    more than text: then nobody can take it up again.
    """

    __slots__ = ("_exact", "_parser", "_repeated", "_shared", "_spent", "said")

    def __init__(self, first: bytes, said: str) -> None:
        """`first` are the first events of the first part, `said` is all of its text."""
        self._shared = _shared(first)
        self.said: str | None = said
        self._repeated = ""
        self._exact = False
        self._spent = NO_USAGE
        self._parser = EventParser()

    def begin(self, repeated: str, spent: Usage, *, exact: bool) -> None:
        """The next part begins. It may repeat the text `repeated`, or must where `exact`; `spent` is what the parts
        before it cost.
        """
        self._repeated = repeated
        self._exact = exact
        self._spent = spent
        self._parser = EventParser()

    def take(self, piece: bytes) -> bytes:
        """The events as the caller gets them; b"" for none. Raises `BrokenReplyError` where they do not fit."""
        try:
            return b"".join([self._event(event.raw, event.data) for event in self._parser.feed(piece)])
        except BrokenReplyError:
            self.said = None  # of this piece the caller gets nothing, whatever stood in front
            raise

    def _event(self, raw: bytes, data: bytes) -> bytes:
        if not data or data == DONE:
            return raw
        try:
            members = _object.decode(data)
            more = self._choices(members)
            more = self._usage(members) or more
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BrokenReplyError(
                f"the stream that took another up carried an event of another shape: {error}"
            ) from None
        if not more:
            return b""
        members.update({name: value for name, value in self._shared.items() if name in members})
        return b"data: %b\n\n" % _encode(members)

    def _choices(self, members: _Members) -> bool:
        """Leave out the second beginning. Is there anything in it for the caller?"""
        choices = _objects.decode(members.get("choices", b"[]"))
        more = False
        for choice in choices:
            delta = _object.decode(choice.get("delta", b"{}"))
            delta.pop("role", None)
            if "content" in delta:
                text = self._text(msgspec.json.decode(delta["content"], type=str | None) or "")
                delta["content"] = msgspec.Raw(_encode(text))
            beyond = [value for name, value in delta.items() if name != "content" and bytes(value) not in _NOTHING]
            finished = bytes(choice.get("finish_reason", b"null")) not in _NOTHING
            if beyond or finished:
                self.said = None
            more = more or bool(beyond) or finished or bytes(delta.get("content", b"")) not in _NOTHING
            choice["delta"] = msgspec.Raw(_encode(delta))
        if choices:
            members["choices"] = msgspec.Raw(_encode(choices))
        return more

    def _text(self, text: str) -> str:
        """What of it is new to the caller."""
        while self._repeated and text:
            if not text.startswith(self._repeated[0]):
                if self._exact:
                    raise BrokenReplyError("the stream that took another up did not begin with that one's text")
                self._repeated = ""
                break
            text, self._repeated = text[1:], self._repeated[1:]
        if text and self.said is not None:
            self.said += text
        return text

    def _usage(self, members: _Members) -> bool:
        """Add what the parts before it cost."""
        raw = members.get("usage")
        if raw is None or bytes(raw) in _NOTHING:
            return False
        usage = _object.decode(raw)
        counts = msgspec.json.decode(raw, type=_Counts)
        total = plus(Usage(counts.prompt_tokens or 0, counts.completion_tokens or 0), self._spent)
        for name, value in as_members(total).items():
            usage[name] = msgspec.Raw(_encode(value))
        members["usage"] = msgspec.Raw(_encode(usage))
        return True


def _shared(first: bytes) -> Mapping[str, msgspec.Raw]:
    """What the first event says for the whole stream."""
    for event in EventParser().feed(first):
        if event.data and event.data != DONE:
            members = _object.decode(event.data)
            return {name: members[name] for name in _SHARED if name in members}
    return {}
