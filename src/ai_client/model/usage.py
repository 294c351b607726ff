"""Token counts of one answer."""

from __future__ import annotations

import msgspec


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens spent by one answer.

    `cached_input_tokens` (a prefix the provider had already seen) are part of `input_tokens`, and
    `reasoning_tokens` are part of `output_tokens`, as in OpenAI's usage object. `estimated` is True when the
    provider did not say and the figures are ours.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


NO_USAGE = Usage()
