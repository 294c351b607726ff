"""How certain a streamed answer has to be before its caller sees of it: [streams]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ai_client.config.keys import key
from ai_client.config.values import choice, integer, models

COMMIT: Final = choice("first_content", "whole")
"""When a stream begins to reach its caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """When a streamed answer begins to reach its caller: until then, a broken one begins again elsewhere, unseen."""

    commit: str = key(
        COMMIT,
        "first_content",
        "With its first content, or once all of it is there and sound. `[app NAME] commit` and a call's own header "
        "`x-ai-client-commit` precede it.",
    )
    whole_models: tuple[str, ...] = key(
        models(), (), "Models whose streams are held until they are whole, in any case."
    )
    hold_mb: int = key(
        integer(1, 1024),
        16,
        "The most of one stream that is held until it is whole: a longer one begins to reach its caller there.",
        unit="MiB",
    )
