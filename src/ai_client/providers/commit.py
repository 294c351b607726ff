"""Until when a streamed answer can be taken back: its first content, or its end."""

from __future__ import annotations

import msgspec

from ai_client.model.call import Call, Target


class Commit(msgspec.Struct, frozen=True):
    """What is held until it is whole: with `whole` every stream, otherwise those of `models`; of each at most `bound`
    bytes. What a call itself asks for comes first.
    """

    whole: bool = False
    models: frozenset[str] = frozenset()
    bound: int = 16 * 1024 * 1024

    def most(self, call: Call, target: Target) -> int:
        """How many bytes of this stream are held at most; 0: it goes out from its first content on."""
        whole = call.whole
        if whole is None:
            whole = self.whole or target.model in self.models
        return self.bound if whole else 0


AS_IT_COMES = Commit()
"""Nothing is held but what a call itself wants held."""
