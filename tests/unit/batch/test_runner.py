"""What a run does about what it meets: answers, refusals, a quota that is used up, a full disk, somebody's ^C.

Who answers here is scripted, and time moves only when something waits for it; a run against a real provider and through
a real process is in tests/e2e/test_batch.py.
"""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import random
import resource
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_client.batch.job import Defaults, Ending, Survey
from ai_client.batch.reader import Line, read
from ai_client.batch.runner import Runner, Settings, Surroundings
from ai_client.batch.store import Store
from ai_client.batch.tally import Tally
from ai_client.errors import (
    AIClientError,
    AuthenticationError,
    ConnectError,
    DeadlineExceededError,
    InvalidRequestError,
    OverloadedError,
    RateLimitedError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.model.record import Record
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint
from tests.running import Run

SECOND = 1_000_000_000
BODY = b'{"model":"m-1","usage":{"prompt_tokens":5,"completion_tokens":2}}'


class Hand:
    """A clock that whoever sleeps moves on."""

    def __init__(self) -> None:
        self.ns = 1000 * SECOND
        self.slept: list[float] = []

    def monotonic_ns(self) -> int:
        return self.ns

    def unix_ns(self) -> int:
        return self.ns

    async def sleep(self, seconds: float) -> None:
        """Sleeping ends at its moment; the first to sleep moves the clock, whoever wakes later finds it moved."""
        until = self.ns + int(seconds * SECOND) + 1
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.ns = max(self.ns, until)


Script = Callable[[str], Awaitable[Reply]]


class Scripted:
    """Answers as told, and remembers what it was asked."""

    def __init__(self, script: Script, clock: Hand) -> None:
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.options: set[tuple[Endpoint, int, float | None]] = set()
        self._script = script
        self._clock = clock

    async def ask(
        self,
        endpoint: Endpoint,
        body: bytes,
        *,
        priority: int = 0,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> tuple[Reply, Record]:
        text = json.loads(body)["messages"][0]["content"]
        self.asked.append(text)
        self.options.add((endpoint, priority, timeout))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            reply = await self._script(text)
        finally:
            self.at_once -= 1
        record = Record("req_1", endpoint.value, "local", "", priority, False, self._clock.ns, self._clock.ns)
        record.target, record.attempts, record.cost_nano, record.duration_ns = "p/m", 1, 9, 5_000_000
        return reply, record


class Bench:
    """A run over so many prompts, named by their numbers."""

    def __init__(self, folder: Path, script: Script, prompts: int = 10, **settings: Any) -> None:
        self.folder = folder
        self.text = "".join(json.dumps({"id": str(n), "prompt": str(n)}) + "\n" for n in range(prompts)).encode()
        self.clock = Hand()
        self.asker = Scripted(script, self.clock)
        self.settings = Settings(**{"concurrency": 4, **settings})
        self.sleep: Callable[[float], Awaitable[None]] = self.clock.sleep
        self.waits: list[tuple[float, str]] = []
        self.watched = 0
        self.runner: Runner

    async def run(self, lines: Iterator[Line] | None = None) -> Ending:
        count = self.text.count(b"\n")
        job = Survey(count, len(self.text), "a" * 64).fingerprint(Defaults())
        store = Store(self.folder / "out.jsonl", self.folder / "err.jsonl", job, count)
        self.tally = Tally(count)
        self.tally.earlier_refused(store.resume(self.tally.earlier, retry_errors=False))

        def watch(_tally: Tally) -> None:
            self.watched += 1

        def waits(seconds: float, error: AIClientError) -> None:
            self.waits.append((seconds, error.message))

        around = Surroundings(self.clock, random.Random(1), watch, waits, self.sleep)
        lines = lines or read(io.BytesIO(self.text), Defaults(), 1000)
        self.runner = Runner(self.asker, lines, store, self.tally, self.settings, around)
        try:
            return await self.runner.run()
        finally:
            store.close()

    def answers(self) -> list[str]:
        return [each["custom_id"] for each in self._objects("out.jsonl")]

    def errors(self) -> dict[str | None, str]:
        return {each["custom_id"]: each["error"]["code"] for each in self._objects("err.jsonl")}

    def told(self) -> list[tuple[int, str]]:
        return sorted((each["line"], each["error"]["code"]) for each in self._objects("err.jsonl"))

    def _objects(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


async def answers(_text: str) -> Reply:
    await asyncio.sleep(0)
    return Reply(200, [], BODY)


def names(count: int) -> set[str]:
    return {str(number) for number in range(count)}


def test_every_line_is_answered_once_and_so_many_at_once(tmp_path: Path, run: Run) -> None:
    bench = Bench(tmp_path, answers, 50, priority=3, timeout=7.0)
    assert run(bench.run()) is Ending.COMPLETE
    assert sorted(bench.answers()) == sorted(names(50))
    assert sorted(bench.asker.asked) == sorted(names(50))
    assert bench.asker.most_at_once == 4
    assert bench.asker.options == {(Endpoint.CHAT, 3, 7.0)}
    assert (bench.tally.answered, bench.tally.cost_nano, bench.watched) == (50, 450, 50)
    assert bench.tally.models["m"].input_tokens == 250
    assert bench.runner.under_way == 0


def test_a_second_run_asks_only_what_is_left(tmp_path: Path, run: Run) -> None:
    async def some(text: str) -> Reply:
        if int(text) % 3 == 0:
            raise DeadlineExceededError("too late")
        return await answers(text)

    bench = Bench(tmp_path, some)
    assert run(bench.run()) is Ending.COMPLETE
    assert bench.errors() == dict.fromkeys(("0", "3", "6", "9"), "deadline_exceeded")
    again = Bench(tmp_path, answers)
    assert run(again.run()) is Ending.COMPLETE
    assert sorted(again.asker.asked) == ["0", "3", "6", "9"]
    assert (again.tally.answered, again.tally.resumed, again.tally.failed) == (10, 6, 0)
    assert again.errors() == {}


def test_refused_lines_are_not_asked_again(tmp_path: Path, run: Run) -> None:
    async def refuses(text: str) -> Reply:
        if text == "4":
            raise InvalidRequestError("no")
        return await answers(text)

    run(Bench(tmp_path, refuses).run())
    again = Bench(tmp_path, answers)
    assert run(again.run()) is Ending.COMPLETE
    assert again.asker.asked == []
    assert (again.tally.failed, again.errors()) == (1, {"4": "invalid_request"})


def test_lines_that_cannot_be_asked_are_recorded_and_the_rest_goes_on(tmp_path: Path, run: Run) -> None:
    bench = Bench(tmp_path, answers)
    bench.text = b'{"id":"a","prompt":"1"}\n\nnonsense\n{"id":"a","prompt":"2"}\n{"id":"b","prompt":"3"}\n'
    assert run(bench.run()) is Ending.COMPLETE
    assert bench.answers() == ["a", "b"]
    assert bench.errors() == {None: "invalid_line", "a": "duplicate_custom_id"}
    assert bench.told() == [(2, "blank_line"), (3, "invalid_line"), (4, "duplicate_custom_id")]
    assert (bench.tally.blank, bench.tally.failed, bench.tally.done) == (1, 2, 5)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'{"x":"\xff"}', b'{"usage":{"prompt_tokens":"many"}}'], ids=repr
)
def test_an_answer_that_is_no_json_is_an_error_that_may_pass(tmp_path: Path, run: Run, body: bytes) -> None:
    async def broken(_text: str) -> Reply:
        return Reply(200, [], body)

    bench = Bench(tmp_path, broken, 1)
    run(bench.run())
    assert bench.errors() == {"0": "broken_reply"}
    again = Bench(tmp_path, answers, 1)
    run(again.run())
    assert again.answers() == ["0"]


@pytest.mark.parametrize(
    "error", [RateLimitedError("quota", retry_after=20.0), OverloadedError("busy", retry_after=20.0)]
)
def test_who_is_told_to_wait_makes_all_wait_and_asks_again(tmp_path: Path, run: Run, error: AIClientError) -> None:
    told = iter([True])

    async def once(text: str) -> Reply:
        if next(told, False):
            raise error
        return await answers(text)

    bench = Bench(tmp_path, once)
    assert run(bench.run()) is Ending.COMPLETE
    assert sorted(bench.answers()) == sorted(names(10))
    assert bench.errors() == {}
    assert bench.waits == [(20.0, error.message)]
    assert len(bench.asker.asked) == 11
    assert all(20.0 <= seconds <= 21.0 for seconds in bench.clock.slept[:1])


def test_what_several_are_told_at_once_is_said_once(tmp_path: Path, run: Run) -> None:
    told = iter([5.0, 20.0, 10.0])

    async def at_first(text: str) -> Reply:
        await asyncio.sleep(0)
        if (seconds := next(told, None)) is not None:
            raise RateLimitedError("quota", retry_after=seconds)
        return await answers(text)

    bench = Bench(tmp_path, at_first, concurrency=3)
    assert run(bench.run()) is Ending.COMPLETE
    assert bench.waits == [(5.0, "quota")]
    assert bench.clock.ns >= 1020 * SECOND  # all waited for the longest


def test_without_a_hint_the_waits_grow(tmp_path: Path, run: Run) -> None:
    left = iter(range(4))

    async def unreachable_at_first(text: str) -> Reply:
        if next(left, None) is not None:
            raise ConnectError("nobody there")
        return await answers(text)

    bench = Bench(tmp_path, unreachable_at_first, 3, concurrency=1)
    assert run(bench.run()) is Ending.COMPLETE
    assert sorted(bench.answers()) == sorted(names(3))
    assert [3.0 <= seconds <= max(3.0, 2.0**number) for number, (seconds, _) in enumerate(bench.waits)] == [True] * 4


def test_a_line_that_never_gets_through_does_not_stop_the_others(tmp_path: Path, run: Run) -> None:
    async def too_large_for_the_quota(text: str) -> Reply:
        if text in ("0", "5"):
            raise RateLimitedError("more tokens than a minute has", retry_after=50.0)
        return await answers(text)

    bench = Bench(tmp_path, too_large_for_the_quota, concurrency=1)
    assert run(bench.run()) is Ending.COMPLETE
    assert sorted(bench.answers()) == sorted(names(10) - {"0", "5"})
    assert bench.errors() == dict.fromkeys(("0", "5"), "rate_limit_exceeded")


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("nobody there"),
        UpstreamTimeoutError("nobody there", phase="connect"),
        UpstreamStatusError("nobody there", status=502, code="connect_error"),  # as a daemon tells of it
        UpstreamStatusError("nobody there", status=504, code="connect_timeout"),
    ],
    ids=lambda error: f"{type(error).__name__} {error.code}",
)
def test_when_nothing_answers_any_more_the_rest_of_the_input_is_left_alone(
    tmp_path: Path, run: Run, error: AIClientError
) -> None:
    async def gone_after_three(text: str) -> Reply:
        if int(text) >= 3:
            raise error
        return await answers(text)

    bench = Bench(tmp_path, gone_after_three, 100, patience=60.0)
    assert run(bench.run()) is Ending.UNAVAILABLE
    assert bench.runner.reason == "nobody there"
    assert sorted(bench.answers()) == ["0", "1", "2"]
    assert len(bench.errors()) == 1
    again = Bench(tmp_path, answers, 100)
    assert run(again.run()) is Ending.COMPLETE
    assert sorted(again.answers()) == sorted(names(100))


def test_a_wait_beyond_all_patience_is_not_begun(tmp_path: Path, run: Run) -> None:
    async def tomorrow(_text: str) -> Reply:
        raise RateLimitedError("the day's quota is used up", retry_after=50_000.0)

    bench = Bench(tmp_path, tomorrow)
    assert run(bench.run()) is Ending.UNAVAILABLE
    assert (bench.waits, bench.clock.slept) == ([], [])


def test_a_refused_key_ends_the_run_and_blames_no_line(tmp_path: Path, run: Run) -> None:
    async def refused(_text: str) -> Reply:
        raise AuthenticationError("the key was refused")

    bench = Bench(tmp_path, refused)
    assert run(bench.run()) is Ending.REFUSED
    assert bench.runner.reason == "the key was refused"
    assert (bench.answers(), bench.errors()) == ([], {})


def test_a_stop_lets_calls_under_way_end(tmp_path: Path, run: Run) -> None:
    async def stopped_in_the_middle() -> Ending:
        asked, release = asyncio.Event(), asyncio.Event()

        async def slow(text: str) -> Reply:
            if bench.asker.at_once == 4:
                asked.set()
            await release.wait()
            return await answers(text)

        bench.asker = Scripted(slow, bench.clock)
        running = asyncio.create_task(bench.run())
        await asked.wait()
        assert bench.runner.under_way == 4
        bench.runner.stop()
        release.set()
        return await running

    bench = Bench(tmp_path, answers)
    assert run(stopped_in_the_middle()) is Ending.INTERRUPTED
    assert len(bench.answers()) == len(bench.asker.asked) == 4
    again = Bench(tmp_path, answers)
    assert run(again.run()) is Ending.COMPLETE
    assert len(again.asker.asked) == 6


@pytest.mark.parametrize("twice", [True, False])
def test_calls_that_do_not_end_are_dropped(tmp_path: Path, run: Run, twice: bool) -> None:
    async def stopped() -> Ending:
        asked = asyncio.Event()

        async def never(_text: str) -> Reply:
            if bench.asker.at_once == 4:
                asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        bench.asker = Scripted(never, bench.clock)
        running = asyncio.create_task(bench.run())
        await asked.wait()
        bench.runner.stop()
        if twice:
            bench.runner.stop()
        return await running

    bench = Bench(tmp_path, answers, grace=3600.0 if twice else 0.01)
    assert run(stopped()) is Ending.INTERRUPTED
    assert (bench.answers(), bench.errors()) == ([], {})


def test_a_stop_wakes_those_who_wait_for_quota(tmp_path: Path, run: Run) -> None:
    async def stopped() -> Ending:
        waiting = asyncio.Event()

        async def sleep(_seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        bench.sleep = sleep
        running = asyncio.create_task(bench.run())
        await waiting.wait()
        bench.runner.stop()
        return await running

    async def short(_text: str) -> Reply:
        raise RateLimitedError("quota", retry_after=20.0)

    bench = Bench(tmp_path, short, grace=3600.0)
    assert run(stopped()) is Ending.INTERRUPTED
    assert bench.errors() == {}


def test_an_error_while_stopping_blames_no_line(tmp_path: Path, run: Run) -> None:
    async def stopped() -> Ending:
        asked, release = asyncio.Event(), asyncio.Event()

        async def fails(_text: str) -> Reply:
            asked.set()
            await release.wait()
            raise OverloadedError("going down")

        bench.asker = Scripted(fails, bench.clock)
        running = asyncio.create_task(bench.run())
        await asked.wait()
        bench.runner.stop()
        release.set()
        return await running

    bench = Bench(tmp_path, answers)
    assert run(stopped()) is Ending.INTERRUPTED
    assert bench.errors() == {}


def test_a_run_that_is_cancelled_drops_its_calls(tmp_path: Path, run: Run) -> None:
    async def cancelled() -> None:
        asked = asyncio.Event()

        async def never(_text: str) -> Reply:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        bench.asker = Scripted(never, bench.clock)
        running = asyncio.create_task(bench.run())
        await asked.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert bench.asker.at_once == 0

    bench = Bench(tmp_path, answers)
    run(cancelled())


def test_what_nobody_foresaw_is_not_hidden(tmp_path: Path, run: Run) -> None:
    async def bug(text: str) -> Reply:
        if text == "5":
            raise ZeroDivisionError
        return await answers(text)

    with pytest.raises(ZeroDivisionError):
        run(Bench(tmp_path, bug).run())


class FullDisk:
    """From the given line on, no file may grow."""

    def __init__(self, folder: Path, after: str) -> None:
        self._folder = folder
        self._after = after
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def __call__(self, text: str) -> Reply:
        if text == self._after:
            size = max(path.stat().st_size for path in self._folder.iterdir())
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, self._limits[1]))
        if text == "refused":
            raise InvalidRequestError("no")
        return await answers(text)

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


def test_a_full_disk_stops_the_run_and_the_next_one_goes_on(tmp_path: Path, run: Run) -> None:
    disk = FullDisk(tmp_path, "6")
    bench = Bench(tmp_path, disk, concurrency=2)
    try:
        assert run(bench.run()) is Ending.WRITE_FAILED
    finally:
        disk.free()
    assert os.strerror(errno.EFBIG) in bench.runner.reason
    written = bench.answers()
    assert set(written) >= {"0", "1", "2", "3", "4"}
    assert "6" not in written
    assert bench.tally.answered == len(written)
    again = Bench(tmp_path, answers)
    assert run(again.run()) is Ending.COMPLETE
    assert sorted(again.answers()) == sorted(names(10))


def test_an_error_that_cannot_be_written_stops_the_run(tmp_path: Path, run: Run) -> None:
    disk = FullDisk(tmp_path, "refused")
    bench = Bench(tmp_path, disk)
    bench.text = b'{"id":"a","prompt":"refused"}\n'
    try:
        assert run(bench.run()) is Ending.WRITE_FAILED
    finally:
        disk.free()
    assert (bench.tally.failed, bench.errors()) == (0, {})


def test_an_input_that_breaks_off_stops_the_run(tmp_path: Path, run: Run) -> None:
    def breaks_off() -> Iterator[Line]:
        yield from list(read(io.BytesIO(bench.text), Defaults(), 1000))[:6]
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    bench = Bench(tmp_path, answers)
    assert run(bench.run(breaks_off())) is Ending.UNREADABLE
    assert "Input/output error" in bench.runner.reason
    assert len(bench.answers()) == 6


def test_an_input_that_becomes_shorter_is_not_taken_for_done(tmp_path: Path, run: Run) -> None:
    bench = Bench(tmp_path, answers)
    assert run(bench.run(read(io.BytesIO(bench.text[:100]), Defaults(), 1000))) is Ending.UNREADABLE
    assert "became shorter" in bench.runner.reason


def test_the_disk_confirms_now_and_then(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmed: list[int] = []

    async def a_second_each(text: str) -> Reply:
        bench.clock.ns += SECOND
        return await answers(text)

    monkeypatch.setattr(Store, "sync", lambda _self: confirmed.append(1))
    bench = Bench(tmp_path, a_second_each, 30)
    assert run(bench.run()) is Ending.COMPLETE
    assert 2 <= len(confirmed) <= 6


def test_a_disk_that_does_not_confirm_stops_the_run(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_self: Store) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def forever(text: str) -> Reply:
        bench.clock.ns += SECOND
        return await answers(text)

    monkeypatch.setattr(Store, "sync", fails)
    bench = Bench(tmp_path, forever, 2000)
    assert run(bench.run()) is Ending.WRITE_FAILED
    assert "Input/output error" in bench.runner.reason
