"""A call that the node's daemon answers."""

from __future__ import annotations

import pytest

from ai_client.cost.prices import Price
from ai_client.errors import ConnectError
from ai_client.model.reply import Reply
from ai_client.model.usage import Usage
from ai_client.pipeline.local import Local
from ai_client.testing import FakeClock, ScriptedProvider, reply, streamed
from ai_client.testing.provider import JSON
from tests.calls import MINUTE, make_call, make_record
from tests.running import Run
from tests.unit.pipeline.stages import read

PRICES = {"m": Price(1_000_000_000, 1_000_000_000, 1_000_000_000)}


def local(*script: Reply | ConnectError) -> tuple[Local, ScriptedProvider]:
    provider = ScriptedProvider(script)
    return Local(provider, PRICES.get, FakeClock()), provider


def test_an_estimate_of_the_daemons_goes_before_ours(run: Run) -> None:
    answer = reply(b"1", Usage(0, 2, estimated=True))
    answer.headers = [JSON, (b"x-ai-client-usage", b"estimated;input=7;output=3")]
    stage, _ = local(answer)
    call = make_call()
    usage = Usage(7, 3, estimated=True)
    assert (run(stage(call)).usage, call.record.usage) == (usage, usage)


def test_the_daemon_is_told_what_it_has_to_know(run: Run) -> None:
    stage, provider = local(reply())
    call = make_call(headers=[(b"openai-beta", b"x")], priority=8, deadline_ns=MINUTE // 8)
    run(stage(call))
    sent = provider.attempts[0].call
    assert sent.headers == [(b"openai-beta", b"x"), (b"x-priority", b"8"), (b"x-ai-client-timeout", b"7.500")]
    assert (sent.body, call.headers) == (call.body, [(b"openai-beta", b"x")])


def test_a_tag_and_the_wish_for_a_fresh_answer_go_with_it(run: Run) -> None:
    stage, provider = local(reply())
    run(stage(make_call(record=make_record(tag="tëam—1"), cache=False, deadline_ns=0)))
    assert provider.attempts[0].call.headers[1:] == [
        (b"x-ai-client-timeout", b"0.001"),
        (b"x-ai-client-tag", b"t\xebam?1"),
        (b"cache-control", b"no-cache"),
    ]


@pytest.mark.parametrize(("whole", "said"), [(True, b"whole"), (False, b"first_content")])
def test_the_daemon_is_the_one_who_holds_a_stream(run: Run, whole: bool, said: bytes) -> None:
    stage, provider = local(reply())
    run(stage(make_call(whole=whole)))
    sent = provider.attempts[0].call
    assert (sent.headers[-1], sent.whole) == ((b"x-ai-client-commit", said), None)


def test_what_the_daemon_says_of_the_call_is_noted(run: Run) -> None:
    answer = reply(b"1", Usage(1, 2))
    answer.headers = [
        JSON,
        (b"x-ai-client-target", b"p/m"),
        (b"x-ai-client-attempts", b"3"),
        (b"x-ai-client-queue-ms", b"1.5"),
        (b"x-ai-client-cache", b"miss"),
        (b"x-ai-client-cost-usd", b"0.000000042"),
        (b"x-upstream-request-id", b"r9"),
    ]
    stage, _ = local(answer)
    call = make_call()
    assert run(stage(call)).headers == [JSON]
    record = call.record
    assert (record.target, record.attempts, record.queue_ns, record.cache) == ("p/m", 3, 1_500_000, "miss")
    assert (record.cost_nano, record.request_id, record.usage) == (42, "r9", Usage(1, 2))


def test_who_asked_the_daemon_in_vain_has_tried_once(run: Run) -> None:
    stage, _ = local(ConnectError("gone"))
    call = make_call()
    with pytest.raises(ConnectError):
        run(stage(call))
    assert call.record.attempts == 1


@pytest.mark.parametrize(("model", "cost"), [("m", 3000), ("unknown", 0)])
def test_the_cost_of_a_stream_is_reckoned_at_its_end(run: Run, model: str, cost: int) -> None:
    async def scenario() -> None:
        stage, _ = local(streamed(b"a", usage=Usage(1, 2)))
        call = make_call(record=make_record(model=model))
        answer = await stage(call)
        assert call.record.cost_nano == 0
        await read(answer)
        assert (call.record.cost_nano, call.record.usage) == (cost, Usage(1, 2))

    run(scenario())
