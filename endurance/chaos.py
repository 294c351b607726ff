"""`make chaos`: kill -9, SIGTERM and SIGHUP at random, under load and with a batch: is anything lost or doubled?

The daemon is started again whenever it ends, and its listening socket is held outside of it, as systemd does both. The
batch goes through the daemon, is itself killed at random, and run again until it is done. Passes when each of its lines
is answered exactly once, no caller was told a lie, and no call failed but those that a kill -9 caught in the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import uvloop

from bench.ours import command, start_simulator
from bench.processes import Processes, free_port
from endurance.wire import Caller, End

COMMAND: Final = command()
SIGNALS: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
_CLEAN: Final = (0, -signal.SIGTERM, -signal.SIGHUP)
"""As systemd has it: a signal that comes before the daemon has begun ends it, and nobody was served yet."""
_AS_SYSTEMD: Final = (
    "import os, sys\n"
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ |= {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': '1'}\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
_CONFIG: Final = """
[api]
base_url = http://127.0.0.1:{upstream}/v1
api_key = hs_chaos
models = gpt-4.1
[models]
default = gpt-4.1
[routing]
simple = gpt-4.1
moderate = gpt-4.1
complex = gpt-4.1
[limits]
requests_per_minute = 0
tokens_per_minute = 0
heed_providers = no
[caching]
enabled = no
[costs]
ledger = {folder}/ledger.db
[logging]
destination = file
log_dir = {folder}/logs
[monitoring]
metrics_port = 0
[daemon]
listen = 127.0.0.1:{port}
"""


class Call(NamedTuple):
    """One call of the load: seconds on the loop's clock, how it ended, and whether it was sent a second time."""

    begun: float
    over: float
    end: End
    again: bool


class Daemon:
    """A daemon that is started again whenever it ends, on a socket that stays."""

    def __init__(self, config: Path, listener: socket.socket) -> None:
        self._config = config
        self._listener = listener
        self._process: Process | None = None
        self.starts = 0
        self.kills: list[tuple[float, float]] = []
        """When it was killed, and when the next one began."""
        self.odd: list[str] = []
        """Ends that nobody asked for."""

    async def keep(self) -> None:
        """Start it, again and again."""
        number = self._listener.fileno()
        loop = asyncio.get_running_loop()
        argv = (sys.executable, "-c", _AS_SYSTEMD, str(number), COMMAND, "serve", "--config", str(self._config))
        while True:
            self._process = await asyncio.create_subprocess_exec(*argv, pass_fds=(number,), stderr=DEVNULL)
            self.starts += 1
            code = await self._process.wait()
            if code == -signal.SIGKILL:
                self.kills[-1] = (self.kills[-1][0], loop.time())
            elif code not in _CLEAN:
                self.odd.append(f"the daemon ended with exit code {code}")

    def strike(self, number: signal.Signals) -> bool:
        """Send it a signal, if it runs."""
        if self._process is None or self._process.returncode is not None:
            return False
        if number is signal.SIGKILL:
            now = asyncio.get_running_loop().time()
            self.kills.append((now, now))
        self._process.send_signal(number)
        return True

    async def stop(self) -> None:
        """End it for good."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


class Load:
    """Callers who ask one call after the other, half of them for streams, on connections that they keep."""

    def __init__(self, port: int, rng: random.Random) -> None:
        self._port = port
        self._rng = rng
        self.calls: list[Call] = []
        self.stopping = False

    async def run(self, callers: int) -> None:
        """Until `stopping` is set."""
        await asyncio.gather(*(self._caller(number) for number in range(callers)))

    async def _caller(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        caller: Caller | None = None
        count = 0
        while not self.stopping:
            count += 1
            stream = self._rng.random() < 0.5
            request = self._request(f"{number}/{count}", stream=stream)
            begun, again = loop.time(), False
            kept = caller is not None and caller.usable
            if caller is None or not caller.usable:
                caller = await self._connect()
            end = await caller.ask(request, stream=stream)
            if end is End.LOST and kept and not caller.status:
                # closed at rest, as it was being taken up again: every HTTP client sends anew then
                caller, again = await self._connect(), True
                end = await caller.ask(request, stream=stream)
            self.calls.append(Call(begun, loop.time(), end, again))
        if caller is not None:
            caller.drop()

    async def _connect(self) -> Caller:
        return (await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", self._port))[1]

    def _request(self, name: str, *, stream: bool) -> bytes:
        messages = [{"role": "user", "content": f"Question {name}?"}]
        body = msgspec.json.encode({"model": "gpt-4.1", "messages": messages, "max_tokens": 12, "stream": stream})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
        return head.encode() + body


class Batch:
    """`ai-client batch` through the daemon, run again until it has answered all."""

    def __init__(self, folder: Path, config: Path, lines: int) -> None:
        self._folder = folder
        self._config = config
        self._process: Process | None = None
        self.names = [f"line-{number}" for number in range(lines)]
        self.runs = 0
        (folder / "in.jsonl").write_text(
            "".join(
                json.dumps({"custom_id": name, "prompt": f"Tell me about {name}.", "max_tokens": 12}) + "\n"
                for name in self.names
            )
        )

    async def run(self, port: int) -> None:
        """To its end."""
        argv = [COMMAND, "batch", "in.jsonl", "-o", "out.jsonl", "--config", str(self._config), "--concurrency", "8"]
        argv += ["--local", f"127.0.0.1:{port}"]
        code = -1
        while code and self.runs < 1000:
            self.runs += 1
            with (self._folder / "batch.log").open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(*argv, cwd=self._folder, stdout=log, stderr=log)
            code = await self._process.wait()

    def kill(self) -> bool:
        """-9, if it runs."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.kill()
        return True

    def wrong(self) -> list[str]:
        """What is not as it should be with its answers."""
        answers = [json.loads(line) for line in (self._folder / "out.jsonl").read_bytes().splitlines()]
        names = Counter(answer["custom_id"] for answer in answers)
        found = [f"{name} was answered {count} times" for name, count in names.items() if count > 1]
        found += [f"{name} was not answered" for name in self.names if name not in names]
        found += [
            f"{answer['custom_id']} is recorded as answered, and is cut off"
            for answer in answers
            if answer["response"]["body"]["choices"][0]["finish_reason"] is None
        ]
        return found


def blame(calls: Sequence[Call], kills: Sequence[tuple[float, float]]) -> tuple[Counter[End], Counter[End]]:
    """How calls ended that no kill -9 of the daemon fell into, and those that one did."""
    apart: Counter[End] = Counter()
    caught: Counter[End] = Counter()
    for call in calls:
        hit = any(call.begun <= until and begun <= call.over for begun, until in kills)
        (caught if hit else apart)[call.end] += 1
    return apart, caught


async def _strike(daemon: Daemon, batch: Batch, rng: random.Random, seconds: float) -> Mapping[str, int]:
    """Signals at random moments; returns how many of each."""
    sent: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while loop.time() < end:
        await asyncio.sleep(rng.expovariate(1 / 0.7))
        if rng.random() < 0.3:
            sent["SIGKILL to the batch"] += batch.kill()
        else:
            number = rng.choice(SIGNALS)
            sent[f"{number.name} to the daemon"] += daemon.strike(number)
    return sent


class Found(NamedTuple):
    """All that is to be judged."""

    sent: Mapping[str, int]
    daemon: Daemon
    load: Load
    batch: Batch


async def chaos(folder: Path, port: int, upstream: int, seconds: float, lines: int, rng: random.Random) -> Found:
    """Run it: `port` is not used yet, a simulator is at `upstream`."""
    config = folder / "ai-client.conf"
    config.write_text(_CONFIG.format(upstream=upstream, port=port, folder=folder))
    (folder / "logs").mkdir()
    batch = Batch(folder, config, lines)
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        daemon, load = Daemon(config, listener), Load(port, rng)
        keeping = asyncio.create_task(daemon.keep())
        loading = asyncio.create_task(load.run(8))
        working = asyncio.create_task(batch.run(port))
        sent = await _strike(daemon, batch, rng, seconds)
        await working
        load.stopping = True
        await loading
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        await daemon.stop()
    return Found(sent, daemon, load, batch)


def report(found: Found) -> int:
    """Print it; 0 when it passed."""
    apart, caught = blame(found.load.calls, found.daemon.kills)
    print("| sent | times |\n|---|---|")
    print("\n".join(f"| {name} | {count} |" for name, count in sorted(found.sent.items())))
    print("\n| calls | " + " | ".join(end.value for end in End) + " |\n|---|" + "---|" * len(End))
    for name, ends in (("that no kill -9 fell into", apart), ("that one did", caught)):
        print(f"| {name} | " + " | ".join(str(ends[end]) for end in End) + " |")
    longest = max((call.over - call.begun for call in found.load.calls), default=0.0)
    again = sum(call.again for call in found.load.calls)
    print(f"\nthe daemon was started {found.daemon.starts} times, the batch {found.batch.runs} times")
    print(
        f"{again} calls met a connection that was closed at rest, and were sent anew; the longest took {longest:.1f} s"
    )
    failed = [*found.daemon.odd, *found.batch.wrong()]
    failed += [
        f"{apart[end]} calls were {end.value} without a kill -9" for end in (End.LOST, End.REFUSED) if apart[end]
    ]
    failed += [f"{lies} calls ended as a {End.LIE.value}"] if (lies := apart[End.LIE] + caught[End.LIE]) else []
    for each in failed:
        print(f"FAILED: {each}")
    print("failed" if failed else f"passed: {len(found.batch.names)} lines answered once each; nothing lost, no lie")
    return 1 if failed else 0


def main() -> None:
    """Run for CHAOS_SECONDS, and until the batch is done."""
    seconds, lines = float(os.environ.get("CHAOS_SECONDS", "120")), int(os.environ.get("CHAOS_LINES", "3000"))
    seed = int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(
        f"chaos: {seconds:.0f} s, {lines} lines, seed {seed} (CHAOS_SEED={seed} draws the same signals)\n", flush=True
    )
    with tempfile.TemporaryDirectory() as name, Processes(Path(name)) as processes:
        upstream = free_port()
        start_simulator(processes, upstream, "--latency-ms", "40", "--token-ms", "5")
        rng = random.Random(seed)
        found = uvloop.run(chaos(Path(name), free_port(), upstream, seconds, lines, rng))
        code = report(found)
        if code:
            print((Path(name) / "batch.log").read_text()[-1500:])
    sys.exit(code)


if __name__ == "__main__":
    main()
