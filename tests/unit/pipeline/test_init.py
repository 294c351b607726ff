"""The stages around one another: what is off is left out, and the whole works."""

from __future__ import annotations

import random

import msgspec
import pytest

from ai_client.cache.backends.memory import MemoryCache
from ai_client.cache.policy import CachePolicy
from ai_client.cost.prices import Price
from ai_client.errors import ConnectError
from ai_client.limits.backends.memory import MemoryLimiter
from ai_client.limits.base import Settings
from ai_client.limits.estimate import Habits
from ai_client.limits.pauses import Pauses
from ai_client.model.call import Target
from ai_client.model.usage import Usage
from ai_client.pipeline import Parts, build_pipeline
from ai_client.pipeline.cached import CacheSettings
from ai_client.pipeline.limited import Quotas
from ai_client.pipeline.retried import RetrySettings
from ai_client.routing.hedging import Hedging
from ai_client.testing import CaptureSink, FakeClock, ScriptedProvider, reply
from ai_client.testing.provider import Line
from tests.calls import make_call, make_record
from tests.virtual import run_virtually

PRICE = Price(1_000_000_000, 1_000_000_000, 1_000_000_000)
CHAIN = (Target("a", "m", "m"), Target("b", "n", "n"))


def parts(clock: FakeClock, sink: CaptureSink, a: ScriptedProvider, b: ScriptedProvider) -> Parts:
    return Parts(
        clock,
        random.Random(1),
        [sink],
        {"a": a, "b": b},
        lambda model, text: CHAIN,
        Target("a", "", ""),
        lambda model: PRICE,
        pytest.fail,
        refuse_unknown_price=False,
        retry=RetrySettings(max_retries=1, max_attempts=3),
    )


def stages(pipeline: object) -> list[str]:
    """The names of the stages, outermost first."""
    names = []
    while hasattr(pipeline, "_inner"):
        names.append(type(pipeline).__name__)
        pipeline = getattr(pipeline._inner, "__self__", pipeline._inner)  # a stage is handed on as its bound method
    return [*names, type(pipeline).__name__]


def test_the_order_is_the_one_that_is_written() -> None:
    clock = FakeClock()
    bare = parts(clock, CaptureSink(), ScriptedProvider(), ScriptedProvider())
    inner = ["Routed", "Fallback", "Retried", "Accounted", "Send"]
    assert stages(build_pipeline(bare)) == ["Observed", *inner]
    cache = CacheSettings(MemoryCache(clock, 1000), CachePolicy(1), "s")
    quotas = Quotas({"a": MemoryLimiter("a", Settings(), clock)}, {}, (), Habits(), Pauses(clock), {})
    full = msgspec.structs.replace(bare, cache=cache, quotas=quotas)
    inner.insert(3, "Limited")
    assert stages(build_pipeline(full)) == ["Observed", "Cached", *inner]
    assert stages(build_pipeline(msgspec.structs.replace(bare, quotas=quotas))) == ["Observed", *inner]
    inner[2:4] = ["Hedged", "Retried", "Limited", "Timed"]
    full = msgspec.structs.replace(bare, quotas=quotas, hedging=Hedging())
    assert stages(build_pipeline(full)) == ["Observed", *inner]


def test_a_call_travels_through_all_of_them() -> None:
    down: list[Line] = [ConnectError("a is down")]

    async def scenario(clock: FakeClock) -> None:
        sink, a, b = CaptureSink(), ScriptedProvider(down), ScriptedProvider([reply(b"1", Usage(10, 5))])
        pipeline = build_pipeline(parts(clock, sink, a, b))
        answer = await pipeline(make_call(record=make_record()))
        assert answer.body == b"1"
        assert (len(a.attempts), len(b.attempts), len(sink.failures)) == (2, 1, 2)
        (record,) = sink.records
        assert (record.status, record.attempts, record.target, record.cost_nano) == (200, 3, "b/n", 15_000)

    run_virtually(scenario)
