"""Canaries: a key and a prompt that nothing may show, whatever goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import PROMPT, leaks
from tests.gateway import ASK, COMMAND, KEY, Recorder, Sections, child, recorder, write_config
from tests.running import Run
from tests.wire import until

CHAT = "/v1/chat/completions"
TOKEN = "a-canary-of-an-app"
ESCAPED = "".join(f"\\u{ord(character):04x}" for character in KEY)
QUOTED = f"you sent {KEY} and asked {PROMPT}"


def breaks(upstream: Recorder, status: int, body: str, kind: str = "application/json") -> None:
    upstream.status, upstream.answer = status, body.encode()
    upstream.headers = [(b"content-type", kind.encode())]


FAULTS: dict[str, Callable[[Recorder], None]] = {
    "refused key": lambda u: breaks(u, 401, f'{{"error": {{"message": "{QUOTED}", "code": "invalid_api_key"}}}}'),
    "bad request": lambda u: breaks(u, 400, f'{{"error": {{"message": "{QUOTED}"}}}}'),
    "policy": lambda u: breaks(u, 400, f'{{"error": {{"message": "{QUOTED}", "code": "content_filter"}}}}'),
    "quota": lambda u: breaks(u, 429, f'{{"error": {{"message": "{QUOTED}"}}}}'),
    "server error": lambda u: breaks(u, 500, f'{{"error": {{"message": "{QUOTED}"}}}}'),
    "server error in plain text": lambda u: breaks(u, 503, QUOTED, "text/plain"),
    "a teapot": lambda u: breaks(u, 418, QUOTED, "text/html"),
    "no JSON": lambda u: breaks(u, 200, QUOTED),
    "an error with 200": lambda u: breaks(u, 200, f'{{"error": {{"message": "{QUOTED}"}}}}'),
    "an error as an event": lambda u: breaks(
        u, 200, f'data: {{"error": {{"code": "{KEY}"}}}}\n\n', "text/event-stream"
    ),
    "spelled with escapes": lambda u: breaks(u, 500, f'{{"error": {{"message": "{ESCAPED}", "code": "{ESCAPED}"}}}}'),
    "a strange type": lambda u: breaks(u, 200, QUOTED, f"text/{KEY}"),
    "a strange packing": lambda u: u.headers.append((b"content-encoding", KEY.encode())),
    "an answer": lambda _: None,
}


@pytest.mark.parametrize("source", ["file", "environment", "credential", "key file"])
def test_neither_is_seen_wherever_the_key_came_from(run: Run, tmp_path: Path, source: str) -> None:
    """Every answer but the provider's own words to the caller, metrics, health, logs, stderr, ledger, arguments."""
    config, environ = configured(tmp_path, source)

    async def scene() -> None:
        async with recorder() as upstream:
            sections: Sections = {
                "api": {"base_url": upstream.url, **config},
                "costs": {"ledger": tmp_path / "ledger.db"},
                "routing": {"retry_base_delay": "0"},
            }
            path = write_config(tmp_path, upstream.url, sections)
            async with child(path, environ=environ) as served:
                assert KEY not in command_line(served.process.pid)
                async with httpx.AsyncClient(base_url=served.url, timeout=30) as client:
                    await provoke(client, upstream)
                    for place in ("/metrics", "/health/ready", "/health/live", "/v1/models"):
                        text = (await client.get(place)).text
                        assert KEY not in text, place
                        assert PROMPT not in text, place
                assert upstream.requests
                assert all(each.header(b"authorization") == f"Bearer {KEY}".encode() for each in upstream.requests)
            _, said = await served.ended()
            assert KEY not in said
            assert PROMPT not in said
        assert (tmp_path / "logs" / "calls.log").stat().st_size
        assert not leaks(tmp_path)

    run(scene())


async def provoke(client: httpx.AsyncClient, upstream: Recorder) -> None:
    """Everything that can go wrong with a call, whole and streamed; no answer shows the key."""
    sound = (upstream.status, upstream.answer, upstream.headers)
    for fault in FAULTS.values():
        for stream in (False, True):
            upstream.status, upstream.answer, upstream.headers = sound
            upstream.headers = upstream.headers.copy()
            fault(upstream)
            headers = {"authorization": f"Bearer {TOKEN}"}
            answer = await client.post(CHAT, json={**ASK, "stream": stream}, headers=headers)
            assert KEY not in answer.text
            assert ESCAPED not in answer.text
            assert KEY not in str(answer.headers)
    upstream.status, upstream.answer, upstream.headers = sound
    for body in (b"{", PROMPT.encode(), b'{"model": 7, "messages": "%b"}' % PROMPT.encode(), b"\xff"):
        answer = await client.post(CHAT, content=body)
        assert answer.status_code in (400, 404)
    upstream.hold = True
    given_up = asyncio.create_task(client.post(CHAT, json=ASK))
    await until(lambda: upstream.held)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    upstream.hold = False


def configured(folder: Path, source: str) -> tuple[dict[str, object], dict[str, str]]:
    """The keys of [api] and the variables by which it is found there."""
    if source == "environment":
        return {"api_key": ""}, {"AI_CLIENT_API__API_KEY": KEY}
    if source == "file":
        return {"api_key": KEY}, {}
    place = folder / "keys" / "ai-client-api-key"
    place.parent.mkdir()
    place.write_text(f"{KEY}\n")
    place.chmod(0o600)
    if source == "credential":
        return {"api_key": ""}, {"CREDENTIALS_DIRECTORY": str(place.parent)}
    return {"api_key": "", "api_key_file": place}, {}


def test_a_leak_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "calls.log").write_text(f"x {PROMPT} y")
    (tmp_path / "other").write_text(f"x {KEY} y")
    (tmp_path / "ai-client.conf").write_text(KEY)
    assert len(leaks(tmp_path)) == 2
    (tmp_path / "logs" / "calls.log").unlink()
    (tmp_path / "other").unlink()


def command_line(pid: int) -> str:
    """As `ps` shows it to everybody."""
    return Path("/proc", str(pid), "cmdline").read_text()


def core_limit(pid: int) -> list[str]:
    """The soft and the hard limit."""
    limits = Path("/proc", str(pid), "limits").read_text()
    (line,) = [each for each in limits.splitlines() if each.startswith("Max core file size")]
    return line.split()[4:6]


def test_the_daemon_cannot_be_dumped(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream, child(write_config(tmp_path, upstream.url)) as served:
            assert core_limit(served.process.pid) == ["0", "0"]

    run(scene())


@pytest.mark.parametrize("words", [("batch", "lines.jsonl", "-o", "out.jsonl"), ("chat", PROMPT)])
def test_nor_can_a_command_that_holds_the_key(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "lines.jsonl").write_bytes(json.dumps({"messages": ASK["messages"]}).encode())

    async def scene() -> None:
        async with recorder() as upstream:
            upstream.hold = True
            config = write_config(tmp_path, upstream.url)
            command = (COMMAND, "--config", str(config), words[0], "--direct", *words[1:])
            process = await asyncio.create_subprocess_exec(
                *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            await until(lambda: upstream.held)
            assert core_limit(process.pid) == ["0", "0"]
            assert KEY not in command_line(process.pid)
            upstream.release()
            said = b"".join(await process.communicate())
            assert KEY.encode() not in said

    run(scene())
