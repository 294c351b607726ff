"""Calls and attempts to hand to what is under test."""

from __future__ import annotations

from typing import Any

import msgspec

from ai_client.model.call import Attempt, Call, Target
from ai_client.model.record import Record
from ai_client.model.request import Endpoint, Fields

MINUTE = 60_000_000_000
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
TARGET = Target("p", "m", "m")
PROMPT = Fields("m", False, 40, 10, "hi")


def make_record(**fields: Any) -> Record:
    """The record of a call that begins at 0 of the monotonic clock."""
    begun = Record("r1", "/chat/completions", "app", "", 5, False, 0, 0, model="m", asked_model="m")
    return msgspec.structs.replace(begun, **fields)


def make_call(**fields: Any) -> Call:
    """A chat of one message with a minute of time; `fields` says what is different."""
    usual = Call(Endpoint.CHAT, "POST", Endpoint.CHAT, BODY, PROMPT, [], MINUTE, 5, "app", make_record())
    return msgspec.structs.replace(usual, **fields)


def make_attempt(call: Call | None = None, target: Target = TARGET, number: int = 1, **fields: Any) -> Attempt:
    """A first attempt of that call, or of a usual one."""
    return Attempt(call or make_call(**fields), target, number)


def streaming(**fields: Any) -> Call:
    """The same, asking for a stream."""
    body = b'{"stream":true,' + BODY[1:]
    return make_call(body=body, fields=msgspec.structs.replace(PROMPT, stream=True), **fields)
