"""When a call that takes long is asked a second time elsewhere: [hedge]."""

from __future__ import annotations

from ai_client.config.keys import Keyed, key
from ai_client.config.values import boolean, integer, names, number


class Hedge(Keyed, frozen=True, kw_only=True):
    """A second request to the next target when the first takes unusually long. The first answer wins."""

    enabled: bool = key(boolean(), False, "Whether anything is asked twice.")
    models: tuple[str, ...] = key(
        names(), ("*",), "The models that may be, by the names that are asked for after aliases; `*` for all."
    )
    percentile: int = key(
        integer(50, 99), 95, "A call is slow when so many of 100 answers of its target came sooner.", unit="%"
    )
    min_samples: int = key(integer(20, 1000), 100, "Answers of a target that must be known before.")
    budget_percent: float = key(number(0, 100), 5.0, "The most calls of a target that are asked twice.", unit="%")
    min_priority: int = key(
        integer(1, 10), 3, "Calls below this priority never are: a batch, which has 2, is in no hurry."
    )
    other_models: bool = key(
        boolean(), False, "Whether the second request may go to another model, one of [models] fallback."
    )
