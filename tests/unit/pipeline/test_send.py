"""The attempt goes to its target's provider."""

from __future__ import annotations

from ai_client.model.call import Target
from ai_client.pipeline.send import Send
from ai_client.testing import ScriptedProvider, reply
from tests.calls import make_attempt
from tests.running import Run


def test_the_provider_of_the_target_gets_it(run: Run) -> None:
    async def scenario() -> None:
        first, second = ScriptedProvider([reply(b"1")]), ScriptedProvider([reply(b"2")])
        send = Send({"a": first, "b": second})
        attempt = make_attempt(target=Target("b", "m", "m"))
        assert (await send(attempt)).body == b"2"
        assert (first.attempts, second.attempts) == ([], [attempt])
        assert attempt.call.record.attempts == 1

    run(scenario())
