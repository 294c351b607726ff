"""Is a whole answer of text really whole? It says so by a reason for finishing, as a stream does."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ai_client.errors import BrokenReplyError


class Choice(msgspec.Struct, gc=False):
    """One choice of a whole answer; its text is nobody's business here."""

    finish_reason: str | None = None


def check_choices(choices: Sequence[Choice] | None, where: str) -> None:
    """Raises `BrokenReplyError` for `choices` that are missing, are none, or do not say why they ended.

    OpenAI's API reference has `finish_reason` among the required members of a choice, and at least one choice.
    """
    if choices is None:
        raise BrokenReplyError(f"{where} answered without choices: its answer is not whole")
    if not choices:
        raise BrokenReplyError(f"{where} answered without a choice: its answer is empty")
    for choice in choices:
        if not choice.finish_reason:
            raise BrokenReplyError(f"{where} answered without a finish_reason: its answer is not whole")
