"""What the daemon says of itself: started, reloaded, refused, drained. Calls are the call log's."""

from __future__ import annotations

import msgspec

from ai_client.clock import Clock
from ai_client.telemetry.base import Level
from ai_client.telemetry.lines import LineWriter
from ai_client.telemetry.text import Stamp, Style, Value, tame, text_line


class Journal:
    """Writes messages as lines: a time, a level, an event's name in snake_case, and fields.

    Values are written so that none can make a second line or pass for another field. Fields must hold no secret.
    """

    def __init__(
        self, writer: LineWriter, clock: Clock, *, level: Level = Level.INFO, style: Style = Style.JSON
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._level = level
        self._style = style
        self._stamp = Stamp().render

    def debug(self, event: str, /, **fields: Value) -> None:
        """For whoever looks for a fault."""
        self._say(Level.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Value) -> None:
        """Something went as it should."""
        self._say(Level.INFO, event, fields)

    def warning(self, event: str, /, **fields: Value) -> None:
        """Something is not right, and the daemon goes on."""
        self._say(Level.WARNING, event, fields)

    def error(self, event: str, /, **fields: Value) -> None:
        """Something failed. Written at once, since a crash may follow."""
        self._say(Level.ERROR, event, fields)
        self._writer.flush()

    def close(self) -> None:
        """Write what is gathered and close the file."""
        self._writer.close()

    def _say(self, level: Level, event: str, fields: dict[str, Value]) -> None:
        if level < self._level:
            return
        head = {"ts": self._stamp(self._clock.unix_ns()), "level": level.name, "event": tame(event)}
        if self._style is Style.TEXT:
            self._writer.write(text_line(head.values(), fields.items()))
            return
        tamed = {name: tame(value) if isinstance(value, str) else value for name, value in fields.items()}
        # the head once more, at the end: it keeps its place in front, and no field can take it
        self._writer.write(msgspec.json.encode({**head, **tamed, **head}) + b"\n")
