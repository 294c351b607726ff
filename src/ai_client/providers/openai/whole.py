"""Is a whole answer of text really whole? It says so by a reason for finishing, as a stream does."""

from __future__ import annotations

import msgspec

from ai_client.errors import BrokenReplyError


class _Choice(msgspec.Struct, gc=False):
    finish_reason: str | None = None


_choices = msgspec.json.Decoder(list[_Choice])


def check_choices(choices: bytes, where: str) -> None:
    """Raises `BrokenReplyError` for `choices` that are no list of them, are none, or do not say why they ended.

    OpenAI's API reference has `finish_reason` among the required members of a choice, and at least one choice.
    """
    try:
        found = _choices.decode(choices)
    except msgspec.DecodeError as error:
        raise BrokenReplyError(f"{where} answered with choices that are not what they should be ({error})") from None
    if not found:
        raise BrokenReplyError(f"{where} answered without a choice: its answer is empty")
    for choice in found:
        if not choice.finish_reason:
            raise BrokenReplyError(f"{where} answered without a finish_reason: its answer is not whole")
