"""What a simulator is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, get_args

import msgspec

from ai_client.errors import ConfigurationError
from ai_client.simulator.chance import Pace, lognormal_table
from ai_client.simulator.models import SimModel

Profile = Literal["realistic", "fast", "zero"]
PROFILES: Final = get_args(Profile)
Prefill = Literal["ignore", "continue", "refuse"]
PREFILLS: Final = get_args(Prefill)

_SPEED: Mapping[Profile, float] = {"realistic": 1.0, "fast": 0.1, "zero": 0.0}
_NS_PER_MS: Final = 1_000_000


class Settings(msgspec.Struct, frozen=True):
    """How a simulator behaves.

    `rpm` and `tpm` bound the requests and tokens a minute of each key; 0 leaves them unbounded. A rested key may spend
    at once what accrues in `burst_seconds`. `profile` scales the
    models' own delays: `realistic` as they are, `fast` a tenth, `zero` none. `latency_ms` replaces the time to the
    first token by a fixed one and `token_ms` the time between tokens (0 when only `latency_ms` is given).
    `reply_tokens` fixes the length of every reply; 0 lets each model draw its own. `faults` are specifications as in
    `faults.py`. `keys` are the keys accepted; empty accepts any. `answers` is a file of JSON lines, each with a
    `question` and its `answer`. `prefill` is what happens to a chat whose last message is an assistant's: the models
    `continue` it, the request is `refuse`d with 400, or the models `ignore` that it is one and answer anew.
    """

    seed: int = 1
    rpm: int = 0
    tpm: int = 0
    burst_seconds: float = 60.0
    profile: Profile = "realistic"
    latency_ms: float | None = None
    token_ms: float | None = None
    reply_tokens: int = 0
    faults: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    answers: Path | None = None
    prefill: Prefill = "ignore"

    def check(self) -> None:
        """Raise `ConfigurationError`, naming every number that makes no sense."""
        numbers = {
            "rpm": self.rpm,
            "tpm": self.tpm,
            "burst_seconds": self.burst_seconds,
            "latency_ms": self.latency_ms or 0,
            "token_ms": self.token_ms or 0,
            "reply_tokens": self.reply_tokens,
        }
        problems = [
            f"{name} is {value}: it must be a number from 0"
            for name, value in numbers.items()
            if not 0 <= value < math.inf
        ]
        if self.profile not in PROFILES:
            problems.append(f"profile is {self.profile!r}: choose one of {', '.join(PROFILES)}")
        if self.prefill not in PREFILLS:
            problems.append(f"prefill is {self.prefill!r}: choose one of {', '.join(PREFILLS)}")
        if "" in self.keys:
            problems.append("a key is empty: leave it out, or give the key that callers send")
        if problems:
            raise ConfigurationError(problems)


def pace_of(model: SimModel, settings: Settings) -> Pace:
    """The delays of `model` under these settings."""
    speed = _SPEED[settings.profile] * _NS_PER_MS
    first = lognormal_table(model.first_ms * speed, model.first_spread)
    gaps = lognormal_table(model.token_ms * speed, model.token_spread)
    prefill = round(model.prefill_us * speed / 1_000)
    if settings.latency_ms is not None:
        first, prefill = [round(settings.latency_ms * _NS_PER_MS)], 0
        gaps = [0]
    if settings.token_ms is not None:
        gaps = [round(settings.token_ms * _NS_PER_MS)]
    return Pace(first, gaps, prefill)
