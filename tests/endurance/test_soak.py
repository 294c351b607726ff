"""The soak at its smallest: a real daemon, watched; and its judges, which have to find what is wrong."""

from __future__ import annotations

import gc
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from ai_client.client import AsyncAIClient
from ai_client.errors import UpstreamStatusError
from ai_client.providers.openai.stream import EventStream
from ai_client.transport.incoming import Incoming
from endurance.served import Figures, look
from endurance.soak import Found, growth, leaks, read, report, table
from endurance.traffic import MODELS, Traffic
from endurance.wire import Callers, End, judge
from tests.gateway import serving, simulated, write_config
from tests.running import Run
from tests.wire import RawClient, Upstream, until

QUIET = Figures(0.0, 50_000_000, 30, 8, 0, 0, 0, 0, 0, 0)
WHOLE = b'{"choices":[{"finish_reason":"stop"}]}'
EVENTS = b'data: {"choices":[{"finish_reason":"stop"}]}\n\n'


def samples(*megabytes: float) -> list[Figures]:
    return [msgspec.structs.replace(QUIET, seconds=at, rss=int(mb * 1e6)) for at, mb in enumerate(megabytes)]


def test_a_daemon_under_mixed_traffic_gives_back_all_that_it_held(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        faults = ("reset@p=0.03", "no-done@p=0.03", "status:503@p=0.03", "sse-error@p=0.03", "stall-mid@times=2,for=1")
        sections = {"api": {"models": ", ".join(MODELS), "max_retries": 1}}
        async with (
            simulated(*faults, profile="fast") as simulator,
            serving(write_config(tmp_path, simulator.url, sections)) as (daemon, url),
        ):
            before = look(daemon, 0.0)
            host, port = url.removeprefix("http://").split(":")
            traffic = Traffic(host, int(port), 400, random.Random(1))
            await traffic.run(0.5)
            await until(lambda: not (look(daemon, 0.0).in_flight or look(daemon, 0.0).callers))
            after = look(daemon, 0.0)
            assert after.pool  # kept, without a request
            for provider in daemon._handler.service.providers.values():
                provider.retire()
            # the simulator lives in this process: its ends of the connections go a turn later
            await until(lambda: not leaks(before, look(daemon, 0.0)))
        assert traffic.ends[End.WHOLE] > 50  # of three hundred and more, where the machine has nothing else to do
        assert traffic.ends[End.CANCELLED]
        assert traffic.ends[End.LOST] == traffic.ends[End.LIE] == 0

    run(scene())


@pytest.mark.parametrize(
    ("status", "body", "stream", "end"),
    [
        (200, WHOLE, False, End.WHOLE),
        (200, EVENTS + b"data: [DONE]\n\n", True, End.WHOLE),
        (200, EVENTS, True, End.LIE),
        (200, b"data: [DONE]\n\n", True, End.LIE),
        (200, WHOLE[:-4], False, End.LIE),
        (200, b'{"choices":[{"finish_reason":null}]}', False, End.LIE),
        (200, b'{"choices":[]}', False, End.LIE),
        (200, b"[]", False, End.LIE),
        (503, b'{"error":{}}', False, End.REFUSED),
        (503, b"no", True, End.LIE),
    ],
)
def test_an_answer_is_whole_or_a_lie(status: int, body: bytes, stream: bool, end: End) -> None:
    assert judge(status, body, stream=stream) is end


@pytest.mark.parametrize(
    ("said", "stream", "end"),
    [
        (b'data: {"error":{}}\n\n', True, End.REFUSED),
        (EVENTS, True, End.LOST),
        (b"", False, End.LOST),
    ],
)
def test_a_connection_that_breaks_off_told_why_or_is_lost(run: Run, said: bytes, stream: bool, end: End) -> None:
    async def broken(client: RawClient) -> None:
        await client.reader.readuntil(b"\r\n\r\n")
        if said:
            client.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(said), said))

    async def scene() -> None:
        async with Upstream(broken) as upstream:
            callers = Callers("127.0.0.1", upstream.port)
            assert await callers.ask(b"GET / HTTP/1.1\r\n\r\n", stream=stream) is end
            callers.close()

    run(scene())


def test_what_is_left_and_what_grew_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert leaks(QUIET, QUIET) == []
    left = msgspec.structs.replace(QUIET, held=2, pool_waiting=1, tasks=9, descriptors=29)
    assert leaks(QUIET, left) == ["1 pool waiting left", "2 held left", "9 tasks, 8 before"]
    assert growth(samples(20, *[50.0] * 12)) == 0
    grown = samples(20, 30, *(50 + minute for minute in range(12)))
    assert growth(grown) == pytest.approx(0.16, abs=0.02)
    assert table(grown, rows=7).count("\n") == 8
    traffic = Traffic("h", 1, 1.0, random.Random(1))
    assert report(Found(QUIET, samples(*[50.0] * 12), QUIET, traffic), 1.0, []) == 0
    traffic.ends[End.LIE] += 1
    assert report(Found(QUIET, grown, left, traffic), 1.0, ["it crashed"]) == 1
    told = capsys.readouterr().out
    for line in ("it crashed", "2 held left", "memory grew by", "1 calls were lie"):
        assert line in told
    path = tmp_path / "figures"
    assert read(path) == []
    path.write_bytes(msgspec.json.encode(QUIET) + b'\n{"half')
    assert read(path) == [QUIET]


def test_callers_leave_and_come(run: Run) -> None:
    async def scene() -> None:
        traffic = Traffic("127.0.0.1", 1, 100, random.Random(2))  # nobody listens there
        await traffic.run(0.03)
        assert traffic.ends.total() == traffic.ends[End.LOST] > 0

    run(scene())


def answers() -> list[object]:
    """All the provider's answers that are in memory."""
    return [each for each in gc.get_objects() if isinstance(each, EventStream | Incoming)]


@pytest.mark.parametrize("hedge", [False, True])
def test_calls_leave_nothing_that_only_the_collector_can_free(run: Run, tmp_path: Path, hedge: bool) -> None:
    """It comes seldom in a daemon, by choice: what waited for it would add up to a hundred megabytes an hour."""

    async def scene() -> None:
        faults = ("reset@p=0.05", "no-done@p=0.05", "status:503@p=0.05", "sse-error@p=0.05", "cut:fin@p=0.05")
        sections: dict[str, dict[str, object]] = {
            "api": {"provider": "one", "models": ", ".join(MODELS), "max_retries": 1},
            "key second": {"api_key": "hs_second"},
            "models": {"fallback": MODELS[1]},
            "routing": {"retry_base_delay": 0.01},
            "caching": {"enabled": "true", "persistent": "no"},
            "hedge": {"enabled": hedge, "min_samples": 20, "percentile": 50, "budget_percent": 50, "min_priority": 1},
        }
        async with (
            simulated(*faults, profile="fast") as simulator,
            serving(write_config(tmp_path, simulator.url, sections)) as (daemon, url),
        ):
            host, port = url.removeprefix("http://").split(":")
            gc.collect()
            others = answers()  # of other tests: kept here, so that their places in memory are not taken by new ones
            former = set(map(id, others))
            gc.disable()
            try:
                traffic = Traffic(host, int(port), 400, random.Random(4))
                await traffic.run(0.6)
                await until(lambda: not (look(daemon, 0.0).in_flight or look(daemon, 0.0).callers))
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                ours = [type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("ai_client.")]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()
                gc.collect()
            alive = [type(each).__name__ for each in answers() if id(each) not in former]
        assert alive == [], "held by a circle that even the collector cannot see"
        # a connection that is given up while it is made leaves a few objects, which is rare
        assert len(ours) < traffic.ends.total() / 10, Counter(ours)
        assert traffic.ends[End.WHOLE] > 100
        assert traffic.ends[End.CANCELLED]

    run(scene())


def test_a_failed_call_of_the_library_leaves_nothing_to_the_collector(run: Run, tmp_path: Path) -> None:
    """A program may have told it not to come at all; and it keeps the errors for as long as it likes."""

    async def scene() -> None:
        sections: dict[str, dict[str, object]] = {
            "api": {"provider": "one", "models": ", ".join(MODELS), "max_retries": 0},
            "models": {"fallback": MODELS[1]},
            "guard": {"enabled": "no"},
            "caching": {"enabled": "true", "persistent": "no"},
        }
        async with simulated("status:503@every=1", profile="fast") as simulator:
            config = write_config(tmp_path, simulator.url, sections)
            async with AsyncAIClient(config=config) as client:
                gc.collect()
                gc.disable()
                try:
                    for number in range(20):
                        with pytest.raises(UpstreamStatusError):
                            await client.chat_completion([{"role": "user", "content": str(number)}], MODELS[0])
                    gc.set_debug(gc.DEBUG_SAVEALL)
                    gc.collect()
                    ours = [
                        type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("ai_client.")
                    ]
                finally:
                    gc.set_debug(0)
                    gc.garbage.clear()
                    gc.enable()
            assert len(ours) < 20, Counter(ours)

    run(scene())
