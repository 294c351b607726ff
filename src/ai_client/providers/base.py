"""What a dialect owes the pipeline."""

from __future__ import annotations

from typing import Protocol

from ai_client.model.call import Attempt
from ai_client.model.reply import Reply


class Provider(Protocol):
    """An endpoint that serves models, in a dialect of its own.

    It answers in the shapes of OpenAI's API whatever it speaks itself, and raises only our own errors.
    """

    @property
    def name(self) -> str:
        """As the configuration calls it."""

    @property
    def open_connections(self) -> int:
        """Connections now open to it."""

    @property
    def busy(self) -> bool:
        """All its connections are in use: a further request would have to wait for one."""

    async def send(self, attempt: Attempt) -> Reply:
        """One try, no retry. A streamed reply is returned once its first content is there.

        Raises `RequestError`s for what the provider refused, `UpstreamError`s for what went wrong with it.
        """

    def close(self) -> None:
        """Close every connection now."""

    def retire(self) -> None:
        """A reload replaced this provider: finish what is in flight, keep nothing after."""
