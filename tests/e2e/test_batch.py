"""`ai-client batch` as a process of its own, against a provider: what is asked, what is kept, and how it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ai_client.clock import SystemClock
from ai_client.simulator.app import Simulator
from ai_client.simulator.settings import Settings
from ai_client.transport.server import Exchange, Request, Server
from tests.running import Run

PROGRAM = "from ai_client.cli.main import main; main()"
NO_MATPLOTLIB = (
    "import importlib.util as found; real = found.find_spec; "
    "found.find_spec = lambda name: None if name == 'matplotlib' else real(name); " + PROGRAM
)
FULL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY)); " + PROGRAM


class Provider:
    """A simulator that can hold its answers back: from the `hold_from`th request on, until it is released.

    A run that takes a line only after the one before was written has then written all but those held back.
    """

    def __init__(self, **settings: Any) -> None:
        self._simulator = Simulator(Settings(profile="zero", **settings), SystemClock())
        self._held: list[tuple[Request, Exchange]] = []
        self.held = asyncio.Event()
        self.hold_from: int | None = None
        self.hold_count = 0
        self.requests: list[dict[str, Any]] = []
        self.url = ""

    def handle(self, request: Request, exchange: Exchange) -> None:
        if request.path.startswith("/v1/") and request.method == "POST":
            self.requests.append(json.loads(request.body))
        if self.hold_from is not None and len(self.requests) >= self.hold_from:
            self._held.append((request, exchange))
            if len(self._held) == self.hold_count:
                self.held.set()
        else:
            self._simulator.handle(request, exchange)

    def hold(self, first: int, count: int) -> None:
        """Hold back from the `first` request on; `held` is set when `count` of them wait."""
        self.hold_from, self.hold_count = first, count

    def forget(self) -> None:
        """Whoever asked is gone."""
        self.hold_from = None
        self._held.clear()

    def release(self) -> None:
        """Answer those that were held back."""
        self.hold_from = None
        for request, exchange in self._held:
            self._simulator.handle(request, exchange)
        self._held.clear()

    def asked(self) -> Counter[str]:
        """How often each prompt arrived."""
        return Counter(request["messages"][-1]["content"] for request in self.requests)


class Place:
    """A folder with a configuration, a provider, and a program to run there."""

    def __init__(self, folder: Path, provider: Provider) -> None:
        self.folder = folder
        self.provider = provider
        self.daemon = f"unix:{folder / 'daemon.sock'}"
        (folder / "ai-client.conf").write_text(
            f"[api]\nprovider = sim\nbase_url = {provider.url}\napi_key = sk-test\nmax_retries = 0\n"
            "models = gpt-4.1, deepseek-v3.2, gemini-2.5-flash, claude-sonnet-4.5, text-embedding-3-small\n"
            f"[daemon]\nlisten = {self.daemon}\n"
            "[limits]\nrequests_per_minute = 0\ntokens_per_minute = 0\n"
            "[logging]\ndestination = stderr\nlevel = WARNING\n"
            "[caching]\nenabled = no\n"
        )

    def write(self, *lines: str | bytes | dict[str, Any], name: str = "in.jsonl") -> None:
        texts = (json.dumps(line) if isinstance(line, dict) else line for line in lines)
        (self.folder / name).write_bytes(
            b"".join((text if isinstance(text, bytes) else text.encode()) + b"\n" for text in texts)
        )

    def prompts(self, count: int, **more: Any) -> None:
        self.write(*({"custom_id": f"id-{number}", "prompt": f"Question {number}?", **more} for number in range(count)))

    async def start(
        self, *arguments: str, program: str = PROGRAM, stdin: int = DEVNULL, stdout: int = PIPE, stderr: int = PIPE
    ) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, "--config", "ai-client.conf", *arguments,
            cwd=self.folder, stdin=stdin, stdout=stdout, stderr=stderr,
        )  # fmt: skip

    async def batch(self, *more: str, program: str = PROGRAM) -> tuple[int, str, str]:
        """Run `ai-client batch in.jsonl -o out.jsonl …` to its end: exit code, stdout, stderr."""
        return await ended(await self.start("batch", "in.jsonl", "-o", "out.jsonl", *more, program=program))

    def answers(self, name: str = "out.jsonl") -> list[dict[str, Any]]:
        path = self.folder / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def errors(self) -> list[dict[str, Any]]:
        return self.answers("out.errors.jsonl")

    def all_answered_once(self, count: int) -> bool:
        names = [answer["custom_id"] for answer in self.answers()]
        return sorted(names) == sorted(f"id-{number}" for number in range(count))


async def ended(process: Process) -> tuple[int, str, str]:
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out or b"").decode(), (err or b"").decode()


@contextlib.asynccontextmanager
async def place(folder: Path, **settings: Any) -> AsyncIterator[Place]:
    provider = Provider(**settings)
    server = Server(provider.handle)
    host, port = await server.listen_tcp("127.0.0.1", 0)
    provider.url = f"http://{host}:{port}/v1"
    try:
        yield Place(folder, provider)
    finally:
        server.close()


def test_every_shape_is_answered_in_the_shape_of_openai(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            chat = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "A?"}], "max_tokens": 7}
            vector = {"model": "text-embedding-3-small", "input": "x"}
            here.write(
                {"custom_id": "openai", "method": "POST", "url": "/v1/chat/completions", "body": chat},
                {"custom_id": "vector", "method": "POST", "url": "/v1/embeddings", "body": vector},
                {"id": "messages", "messages": [{"role": "user", "content": "B?"}]},
                {"prompt": "C?"},
            )
            code, out, err = await here.batch("--direct", "--model", "deepseek-v3.2", "--max-tokens", "5")
            assert code == 0, err
            assert "answered  4 of 4" in out
            assert f"through this process, to {here.provider.url}" in err
            answers = {answer["custom_id"]: answer for answer in here.answers()}
            assert answers.keys() == {"openai", "vector", "messages", "line-000004"}
            for answer in answers.values():
                assert answer.keys() == {"id", "custom_id", "response", "error", "ai_client"}
                assert answer["error"] is None
                assert answer["response"].keys() == {"status_code", "request_id", "body"}
                assert answer["response"]["status_code"] == 200
            assert answers["openai"]["response"]["body"]["usage"]["completion_tokens"] == 7
            assert answers["line-000004"]["response"]["body"]["usage"]["completion_tokens"] == 5
            assert answers["line-000004"]["ai_client"]["model"] == "deepseek-v3.2"
            assert answers["vector"]["response"]["body"]["object"] == "list"
            assert chat in here.provider.requests
            assert here.errors() == []

    run(scene())


def test_lines_that_cannot_be_asked_are_told_by_number_and_the_rest_goes_on(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.write(
                {"custom_id": "a", "prompt": "A?"},
                "",
                '{"custom_id": "cut", "prompt": ',
                {"custom_id": "a", "prompt": "again?"},
                {"custom_id": "long", "prompt": "x" * 5000},
                b'{"custom_id": "bytes", "prompt": "\xff"}',
                {"custom_id": "model", "prompt": "B?", "model": "gpt-41"},
                {"custom_id": "b", "prompt": "C?"},
            )
            arguments = ("--direct", "--limit-bytes", "4000", "--json")
            code, out, _ = await here.batch(*arguments)
            assert code == 1
            summary = json.loads(out)
            assert (summary["answered"], summary["failed"], summary["blank"], summary["lines"]) == (2, 5, 1, 8)
            assert summary["errors"] == "out.errors.jsonl"
            assert [answer["custom_id"] for answer in here.answers()] == ["a", "b"]
            errors = {error["line"]: error for error in here.errors()}
            codes = {line: error["error"]["code"] for line, error in errors.items()}
            assert codes == {
                2: "blank_line",
                3: "invalid_line",
                4: "duplicate_custom_id",
                5: "line_too_large",
                6: "invalid_line",
                7: "model_not_found",
            }
            assert "gpt-4.1" in errors[7]["error"]["message"]

            code, out, _ = await here.batch(*arguments)  # nothing new: told once, not twice
            assert code == 1
            assert json.loads(out)["resumed"] == 2
            assert len(here.errors()) == 6
            assert len(here.provider.requests) == 2

    run(scene())


def test_a_killed_run_goes_on_and_every_line_is_answered_once(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(60)
            here.provider.hold(25, 4)
            arguments = ("batch", "in.jsonl", "-o", "out.jsonl", "--direct", "--concurrency", "4")
            process = await here.start(*arguments)
            await here.provider.held.wait()
            process.kill()
            await ended(process)
            assert process.returncode == -signal.SIGKILL
            written = {answer["custom_id"] for answer in here.answers()}
            assert len(written) == 24
            with (tmp_path / "out.jsonl").open("ab") as file:  # as if the last write had been cut in two
                file.write((tmp_path / "out.jsonl").read_bytes()[:50])

            here.provider.forget()
            before = here.provider.asked()
            code, out, err = await ended(await here.start(*arguments))
            assert code == 0, err
            assert "60 of 60, 24 of them in earlier runs" in out
            assert "going on: 24 lines were answered" in err
            assert here.all_answered_once(60)
            again = here.provider.asked() - before
            assert sum(again.values()) == 36
            assert not again.keys() & {f"Question {name.removeprefix('id-')}?" for name in written}

    run(scene())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_waits_for_what_it_asked_and_goes_on_later(tmp_path: Path, run: Run, number: int) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(30)
            here.provider.hold(11, 4)
            process = await here.start("batch", "in.jsonl", "-o", "out.jsonl", "--direct", "--concurrency", "4")
            assert process.stderr is not None
            await here.provider.held.wait()
            process.send_signal(number)
            await _line(process.stderr, "stopping")
            here.provider.release()
            code, out, err = await ended(process)
            assert code == 128 + number
            assert "answered  14 of 30" in out
            assert "16 lines remain" in err
            assert len(here.answers()) == 14

            code, _, _ = await here.batch("--direct")
            assert code == 0
            assert here.all_answered_once(30)
            assert set(here.provider.asked().values()) == {1}

    run(scene())


def test_a_second_interrupt_ends_a_run_at_once(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(30)
            here.provider.hold(11, 4)
            process = await here.start("batch", "in.jsonl", "-o", "out.jsonl", "--direct", "--concurrency", "4")
            assert process.stderr is not None
            await here.provider.held.wait()
            process.send_signal(signal.SIGINT)
            await _line(process.stderr, "stopping")
            process.send_signal(signal.SIGINT)
            code, _, _ = await ended(process)
            assert code == 130
            assert len(here.answers()) == 10
            here.provider.forget()
            code, _, _ = await here.batch("--direct")
            assert code == 0
            assert here.all_answered_once(30)

    run(scene())


async def _line(stream: asyncio.StreamReader, word: str) -> None:
    while word not in (text := (await stream.readline()).decode()):
        assert text, f"the program ended without saying {word!r}"


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_room(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path, reply_tokens=4000) as here:
            here.prompts(40)
            code, _, err = await here.batch("--direct", "--concurrency", "2", program=FULL_DISK)
            assert code == 3, err
            assert "an answer could not be written: File too large" in err
            assert "the same command goes on" in err
            written = len(here.answers())
            assert 0 < written < 40
            assert (tmp_path / "out.jsonl").read_bytes().endswith(b"\n")
            code, out, _ = await here.batch("--direct", "--concurrency", "2", "--json")
            assert code == 0
            assert json.loads(out)["resumed"] == written
            assert here.all_answered_once(40)

    run(scene())


def test_what_failed_for_a_while_is_asked_again_and_what_was_refused_is_not(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path, faults=("status:500@every=3",)) as here:
            here.prompts(9)
            code, out, err = await here.batch("--direct", "--concurrency", "1")
            assert code == 1, err
            assert "failed    3: see out.errors.jsonl" in out
            assert {error["status"] for error in here.errors()} == {500}
            assert all(error["retryable"] for error in here.errors())
            while (await here.batch("--direct"))[0]:
                pass
            assert here.all_answered_once(9)
            assert not (tmp_path / "out.errors.jsonl").exists()

            refused = ("batch", "refused.jsonl", "-o", "refused.out.jsonl", "--direct")
            here.write({"prompt": "x", "model": "nobody's"}, name="refused.jsonl")
            for arguments in (refused, refused, (*refused, "--retry-errors")):
                assert (await ended(await here.start(*arguments)))[0] == 1
            (error,) = here.answers("refused.out.errors.jsonl")
            assert (error["status"], error["retryable"]) == (404, False)

    run(scene())


def test_who_is_told_to_wait_waits_and_says_so(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path, faults=("status:429@every=4,retry-after=0.05",)) as here:
            here.prompts(6)
            code, _, err = await here.batch("--direct", "--concurrency", "1")
            assert code == 0, err
            assert err.count("waiting ") == 1
            assert here.all_answered_once(6)
            assert len(here.provider.requests) == 7

    run(scene())


def test_a_refused_key_stops_the_run(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path, keys=("sk-other",)) as here:
            here.prompts(5)
            code, _, err = await here.batch("--direct")
            assert code == 2
            assert "no line can be answered" in err
            assert (here.answers(), here.errors()) == ([], [])

    run(scene())


def test_what_cannot_be_used_is_refused_before_anything_is_asked(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(2)
            (tmp_path / "empty.jsonl").touch()
            (tmp_path / "notes.txt").write_text("my only copy")
            for arguments, said in (
                (("in.jsonl", "-o", "in.jsonl"), "given twice"),
                (("in.jsonl", "-o", "out.jsonl", "--errors", "out.jsonl"), "given twice"),
                (("missing.jsonl", "-o", "out.jsonl"), "missing.jsonl cannot be read"),
                (("empty.jsonl", "-o", "out.jsonl"), "empty.jsonl holds no lines"),
                (("in.jsonl", "-o", "nowhere/out.jsonl"), "nowhere/out.jsonl cannot be written"),
                (("in.jsonl", "-o", "."), ". is a folder: name a file in it"),
                (("in.jsonl", "-o", "notes.txt"), "was not written by this command"),
                (("in.jsonl", "-o", "out.jsonl", "--local", "x:1", "--direct"), "exclude one another"),
                (("in.jsonl", "-o", "out.jsonl", "--priority", "11"), "11"),
                (("in.jsonl", "-o", "out.jsonl", "--local", "x:1", "--token-file", "none"), "--token-file none"),
                (
                    ("in.jsonl", "-o", "out.jsonl", "--report", "notes.txt"),
                    "--report notes.txt cannot be made: File exists",
                ),
            ):
                code, _, err = await ended(await here.start("batch", *arguments))
                assert (code, said in err) == (2, True), err
            with (tmp_path / "all.jsonl").open("wb") as all_in_one:  # the summary would be written over answers
                process = await here.start("batch", "in.jsonl", "-o", "all.jsonl", stdout=all_in_one.fileno())
                code, _, err = await ended(process)
            assert (code, "all.jsonl is standard output" in err) == (2, True), err
            assert (tmp_path / "notes.txt").read_text() == "my only copy"
            assert here.provider.requests == []

    run(scene())


def test_another_input_needs_another_output_or_a_fresh_start(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(3)
            assert (await here.batch("--direct"))[0] == 0
            code, _, err = await here.batch("--direct", "--model", "gpt-4.1")
            assert (code, "other options" in err) == (2, True), err
            here.prompts(4)
            code, _, err = await here.batch("--direct")
            assert (code, "another input" in err) == (2, True), err
            code, _, err = await here.batch("--direct", "--fresh")
            assert (code, "say --yes as well" in err) == (2, True), err
            assert len(here.answers()) == 3
            assert (await here.batch("--direct", "--fresh", "--yes"))[0] == 0
            assert here.all_answered_once(4)

    run(scene())


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 130)])
def test_a_fresh_start_asks_at_a_terminal(tmp_path: Path, run: Run, answer: bytes, code: int) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(2)
            assert (await here.batch("--direct"))[0] == 0
            first = (tmp_path / "out.jsonl").read_bytes()
            ours, theirs = pty.openpty()
            try:
                os.write(ours, answer)
                process = await here.start("batch", "in.jsonl", "-o", "out.jsonl", "--direct", "--fresh", stdin=theirs)
                found, _, err = await ended(process)
            finally:
                os.close(ours)
                os.close(theirs)
            assert found == code, err
            assert "Throw them away?" in err
            assert ((tmp_path / "out.jsonl").read_bytes() == first) == (code != 0)

    run(scene())


def test_two_runs_do_not_write_one_file(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(3)
            here.provider.hold(1, 3)
            first = await here.start("batch", "in.jsonl", "-o", "out.jsonl", "--direct")
            await here.provider.held.wait()
            code, _, err = await here.batch("--direct")
            assert (code, "being written by another run" in err) == (2, True), err
            here.provider.release()
            assert (await ended(first))[0] == 0
            assert here.all_answered_once(3)

    run(scene())


def test_a_report_is_left_where_it_was_asked_for(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(3, model="auto")
            code, _, err = await here.batch("--direct", "--report", "report")
            assert code == 0, err
            assert "report/report.html" in err
            told = json.loads((tmp_path / "report" / "summary.json").read_bytes())
            assert told["answered"] == 3
            assert {each["model"] for each in told["alternatives"]} >= {"gpt-4.1", "deepseek-v3.2"}

            assert (tmp_path / "report" / "cost.png").stat().st_size > 0

            code, _, err = await here.batch("--direct", "--report", "plain", program=NO_MATPLOTLIB)
            assert (code, "pip install 'ai-client[report]'" in err) == (0, True), err
            assert {path.name for path in (tmp_path / "plain").iterdir()} == {"report.html", "summary.json"}

            (tmp_path / "blocked" / "summary.json").mkdir(parents=True)
            code, _, err = await here.batch("--direct", "--report", "blocked")
            assert (code, "blocked/summary.json: Is a directory" in err) == (3, True), err

    run(scene())


def test_the_daemon_of_the_node_is_found_and_used(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(20)
            daemon = await here.start("serve")
            try:
                assert daemon.stderr is not None
                await _line(daemon.stderr, "serves on")
                code, out, err = await here.batch("--json")
                assert code == 0, err
                assert f"through the daemon at {here.daemon}" in err
                summary = json.loads(out)
                assert summary["cost_usd"] > 0
                assert list(summary["models"]) == ["deepseek-v3.2"]
                assert here.all_answered_once(20)
                assert {answer["ai_client"]["target"] for answer in here.answers()} == {"sim/deepseek-v3.2"}
                elsewhere = ("batch", "in.jsonl", "-o", "2.jsonl", "--local", here.daemon, "--token-file", "token")
                (tmp_path / "token").write_text("unasked\n")
                assert (await ended(await here.start(*elsewhere)))[0] == 0
            finally:
                daemon.terminate()
                await ended(daemon)

    run(scene())


def test_a_daemon_that_does_not_answer_is_passed_over(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(2)
            configured = (tmp_path / "ai-client.conf").read_text()
            foreign = here.provider.url.removeprefix("http://").removesuffix("/v1")  # it has no /health/live
            listen = f"{here.daemon}, {foreign}, [::1]:1"
            (tmp_path / "ai-client.conf").write_text(
                configured.replace(f"listen = {here.daemon}", f"listen = {listen}")
            )
            code, _, err = await here.batch()
            assert (code, "through this process" in err) == (0, True), err

    run(scene())


def test_a_summary_that_nobody_reads_does_no_harm(tmp_path: Path, run: Run) -> None:
    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(2)
            unread, stdout = os.pipe()
            os.close(unread)
            try:
                process = await here.start("batch", "in.jsonl", "-o", "out.jsonl", "--direct", stdout=stdout)
            finally:
                os.close(stdout)
            code, _, err = await ended(process)
            assert (code, "Broken pipe" in err) == (1, False), err
            assert here.all_answered_once(2)

    run(scene())


def test_a_terminal_sees_a_bar(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    async def scene() -> None:
        async with place(tmp_path) as here:
            here.prompts(5)
            ours, theirs = pty.openpty()
            shown = asyncio.create_task(asyncio.to_thread(_all, ours))
            try:
                process = await here.start("batch", "in.jsonl", "-o", "out.jsonl", "--direct", stderr=theirs)
            finally:
                os.close(theirs)
            assert (await ended(process))[0] == 0
            assert "5 of 5" in (await shown).decode()
            os.close(ours)

    run(scene())


def _all(terminal: int) -> bytes:
    """What is written to a terminal until nobody holds its other end."""
    read: Callable[[], bytes] = lambda: os.read(terminal, 4096)  # noqa: E731
    seen = b""
    with contextlib.suppress(OSError):
        while piece := read():
            seen += piece
    return seen
