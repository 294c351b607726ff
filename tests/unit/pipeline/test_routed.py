"""From a name to targets."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ai_client.errors import UnknownModelError
from ai_client.model.call import Call, Target
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint, Fields
from ai_client.pipeline.routed import Routed
from ai_client.testing import reply
from tests.calls import make_call
from tests.running import Run

PASS = Target("default", "", "")
KNOWN = Target("p", "m", "m")


class Routing:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.planned: list[Sequence[Target]] = []
        self.stage = Routed(self.inner, self.decide, PASS)

    def decide(self, model: str, text: str) -> Sequence[Target]:
        self.asked.append((model, text))
        if model == "nobody's":
            raise UnknownModelError("no provider serves it")
        return (KNOWN,)

    async def inner(self, call: Call, targets: Sequence[Target]) -> Reply:
        self.planned.append(targets)
        return reply()


@pytest.mark.parametrize(
    ("endpoint", "fields", "asked", "targets"),
    [
        (Endpoint.CHAT, Fields("m", text="hi"), [("m", "hi")], (KNOWN,)),
        (Endpoint.CHAT, Fields("", text="hi"), [("", "hi")], (KNOWN,)),
        (Endpoint.OTHER, Fields("m"), [("m", "")], (KNOWN,)),
        (Endpoint.OTHER, Fields(""), [], (PASS,)),
    ],
)
def test_targets(
    run: Run, endpoint: Endpoint, fields: Fields, asked: list[tuple[str, str]], targets: Sequence[Target]
) -> None:
    async def scenario() -> None:
        routing = Routing()
        await routing.stage(make_call(endpoint=endpoint, fields=fields))
        assert (routing.asked, routing.planned) == (asked, [targets])

    run(scenario())


def test_an_unknown_model_goes_nowhere(run: Run) -> None:
    async def scenario() -> None:
        routing = Routing()
        with pytest.raises(UnknownModelError):
            await routing.stage(make_call(fields=Fields("nobody's")))
        assert routing.planned == []

    run(scenario())
