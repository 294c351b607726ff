"""How certain a streamed answer has to be before its caller sees of it: [streams]."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ai_client.config.keys import Keyed, key
from ai_client.config.values import Kind, choice, integer, is_model, listed, models
from ai_client.model.prefill import PLAIN, STYLES

COMMIT: Final = choice("first_content", "whole")
"""When a stream begins to reach its caller."""


def continuers() -> Kind[Mapping[str, str]]:
    """Models separated by commas, each perhaps with the way in which it is asked to go on behind its last colon."""

    def parse(text: str) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for item in listed(text):
            name, style = item, PLAIN
            head, colon, word = item.rpartition(":")
            if colon and word.strip().lower() in STYLES:
                name, style = head.strip(), word.strip().lower()
            if name in found or not is_model(name):
                raise ValueError(text)
            found[name] = style
        return MappingProxyType(found)

    return Kind(
        "list of models",
        "names of models separated by commas, each once, with `: plain`, `: prefix`, `: echo` or `: vllm` behind it "
        "where needed; or nothing",
        parse,
        lambda found: ", ".join(name if style == PLAIN else f"{name}: {style}" for name, style in found.items()),
    )


class Streams(Keyed, frozen=True, kw_only=True):
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
    continue_models: Mapping[str, str] = key(
        continuers(),
        MappingProxyType({}),
        "Models that may go on with a text that broke off at another target: `claude-sonnet-4.5, local-llama: vllm`. "
        "The word says how the model is asked to: plain (the default), prefix, echo or vllm.",
    )
