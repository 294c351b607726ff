"""The models that the simulator serves: their prices, their quality and their pace.

Prices are those of the table shipped in `cost/`, so that the simulator's bill and the client's agree; quality and pace
are made up to resemble the models named, and are no measurement of them.
"""

from __future__ import annotations

from typing import Final

import msgspec


class SimModel(msgspec.Struct, frozen=True):
    """One model.

    Prices are nano-dollars for one token (140 is $0.14 for a million). `accuracy` is the share of the questions with
    a known answer that it answers right. `first_ms` and `token_ms` are medians of lognormal distributions, in
    milliseconds, of the time to the first token and between tokens; `…_spread` are their sigmas (0.5: one in twenty
    takes 2.3 times the median). `prefill_us` is added for each prompt token that was not cached. `context` counts
    tokens, prompt and reply together; `reply_tokens` is the median length of a reply.
    """

    name: str
    owner: str
    input_nano: int
    cached_nano: int
    output_nano: int
    accuracy: float = 0.0
    first_ms: float = 20.0
    first_spread: float = 0.4
    token_ms: float = 0.0
    token_spread: float = 0.0
    prefill_us: float = 0.0
    context: int = 8_192
    reply_tokens: int = 0

    @property
    def embeds(self) -> bool:
        """It turns text into vectors, and cannot chat."""
        return self.reply_tokens == 0

    def cost_nano(self, input_tokens: int, cached_tokens: int, output_tokens: int) -> int:
        """What an answer costs, in nano-dollars; the cached tokens are part of the input tokens."""
        fresh = input_tokens - cached_tokens
        return fresh * self.input_nano + cached_tokens * self.cached_nano + output_tokens * self.output_nano


MODELS: Final = (
    SimModel(
        "deepseek-v3.2", "deepseek", 140, 140, 280,
        accuracy=0.890, first_ms=620, first_spread=0.55, token_ms=22, token_spread=0.60, prefill_us=90,
        context=131_072, reply_tokens=130,
    ),
    SimModel(
        "gemini-2.5-flash", "google", 300, 300, 2_500,
        accuracy=0.915, first_ms=340, first_spread=0.45, token_ms=6, token_spread=0.70, prefill_us=30,
        context=1_048_576, reply_tokens=150,
    ),
    SimModel(
        "gpt-4.1", "openai", 2_000, 500, 8_000,
        accuracy=0.945, first_ms=480, first_spread=0.50, token_ms=12, token_spread=0.65, prefill_us=50,
        context=1_047_576, reply_tokens=140,
    ),
    SimModel(
        "claude-sonnet-4.5", "anthropic", 3_000, 300, 15_000,
        accuracy=0.970, first_ms=850, first_spread=0.45, token_ms=15, token_spread=0.55, prefill_us=60,
        context=200_000, reply_tokens=180,
    ),
    SimModel("text-embedding-3-small", "openai", 20, 20, 0, first_ms=35, first_spread=0.50, prefill_us=4),
)  # fmt: skip
"""Every model served, cheapest chat model first."""
