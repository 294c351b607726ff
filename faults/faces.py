"""The same calls through the library, a daemon process and the batch command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from ai_client.client import AsyncAIClient
from ai_client.errors import AIClientError
from faults.matrix import Cell
from faults.server import PRIMARY, SPARE

TOTAL_SECONDS: Final = 40.0
"""What a call may take by its configuration."""
HANG_SECONDS: Final = 45.0
"""What takes longer hangs."""
BATCH_SECONDS: Final = 240.0
"""The same for a batch, whose lines wait two minutes for a provider that is busy or away."""
STOPPED: Final = 2
"""The exit code of a batch that goes on no further because no line can be answered."""
_AT_ONCE: Final = 24
COMMITS: Final = {"whole": "whole", "plain": "", "continued": "", "refused": ""}
"""What a call says of its commit, by the cell's mode."""
_ROOT: Final = Path(__file__).parents[1]


@dataclass(slots=True)
class Outcome:
    """What the caller saw: text, and whether it was told that this is all; else the error's words, and its status where
    the face tells one (0: a batch tells none).
    """

    text: str = ""
    whole: bool = False
    status: int = 0
    error: str = ""
    seconds: float = 0.0
    hung: bool = False
    answers: int = 1


def write_config(folder: Path, server_port: int, network: Mapping[str, str], cells: Sequence[Cell]) -> Path:
    """A configuration with short patience and a spare for everything.

    Each cell has a model of its own, at two providers, so that what one cell learns of a target concerns no other;
    those in `network` have their first one there, by name.
    Where only another model can help, the spare is one: the fallback.
    """
    url = f"http://127.0.0.1:{server_port}"
    names = [cell.name for cell in cells]
    prompts = [cell.name for cell in cells if cell.fault.blame == "prompt"]
    spares = [*(name for name in names if name not in prompts), *([SPARE] if prompts else [])]
    taken_up = [cell.name for cell in cells if cell.mode in ("continued", "refused")]
    primary = [name for name in names if name not in network]
    lines = [
        *("[api]", f"base_url = {url}/{PRIMARY}/v1", f"provider = {PRIMARY}", "api_key = none"),
        *(f"models = {', '.join(primary or ['unused'])}", "timeout = 4", "max_retries = 2"),
        *("[models]", f"default = {names[0]}", f"fallback = {SPARE if prompts else ''}"),
        *(
            "[performance]",
            "connection_timeout = 4",
            "read_timeout = 4",
            "first_token_timeout = 4",
            f"total_timeout = {TOTAL_SECONDS:g}",
        ),
        *("request_timeout_buffer = 2", "max_concurrent_requests = 1000"),
        *("[routing]", "retry_base_delay = 0.1", "retry_max_delay = 3"),
        *(f"{kind} = {names[0]}" for kind in ("simple", "moderate", "complex")),
        *("[streams]", f"continue_models = {', '.join(taken_up)}"),
        *("[limits]", "requests_per_minute = 0", "tokens_per_minute = 0"),
        *("[model_costs]", f"{SPARE} = 1", *(f"{name} = 1" for name in names)),
        *("[caching]", "enabled = no"),
        *("[logging]", f"log_dir = {folder / 'logs'}", "destination = file"),
        *("[monitoring]", "metrics_port = 0"),
    ]
    for name in names:
        if name in network:
            lines += [f"[provider {name}]", f"base_url = {network[name]}", f"models = {name}", "api_key = none"]
    spare = ("[provider spare]", f"base_url = {url}/{SPARE}/v1", f"models = {', '.join(spares)}", "api_key = none")
    path = folder / "ai-client.conf"
    path.write_text("\n".join([*lines, *spare]) + "\n")
    return path


def question(cell: Cell) -> dict[str, Any]:
    """The call of a cell."""
    asked: dict[str, Any] = {"model": cell.name, "messages": [{"role": "user", "content": cell.name}]}
    return {**asked, "stream": True} if cell.stream else asked


async def library(config: Path, cells: Sequence[Cell], _dials: Path) -> dict[str, Outcome]:
    """Through one client in this process, whose loop is watched already."""
    async with AsyncAIClient(config=config) as client:

        async def ask(cell: Cell, outcome: Outcome) -> None:
            try:
                if cell.stream:
                    async with await client.chat_completion(
                        [{"role": "user", "content": cell.name}], cell.name, stream=True, commit=COMMITS[cell.mode]
                    ) as chunks:
                        async for chunk in chunks:
                            outcome.text += _delta(chunk)
                    outcome.whole = True
                else:
                    answer = await client.chat_completion([{"role": "user", "content": cell.name}], cell.name)
                    outcome.text, outcome.whole = _content(answer), True
            except AIClientError as error:
                outcome.status, outcome.error = error.status, error.message

        return await _all(cells, ask)


async def daemon(config: Path, cells: Sequence[Cell], dials: Path) -> dict[str, Outcome]:
    """Through `ai-client serve` as a process of its own, read by a plain HTTP client."""
    process = await asyncio.create_subprocess_exec(
        *_command(dials), "serve", "--config", str(config), "--listen", "127.0.0.1:0",
        stderr=asyncio.subprocess.PIPE, env=_environment(), cwd=_ROOT,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        said = (await process.stderr.readline()).decode().strip()
        url = "http://" + said.removeprefix("ai-client serves on ")
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=url, timeout=None, limits=limits, trust_env=False) as client:  # noqa: S113  _all bounds it

            async def ask(cell: Cell, outcome: Outcome) -> None:
                commit = COMMITS[cell.mode]
                headers = {"x-ai-client-commit": commit} if commit else {}
                async with client.stream(
                    "POST", "/v1/chat/completions", json=question(cell), headers=headers
                ) as answer:
                    body = b""
                    clean = True
                    try:
                        async for piece in answer.aiter_bytes():
                            body += piece
                    except httpx.HTTPError:
                        clean = False
                    _read(answer.status_code, body, outcome, stream=cell.stream, clean=clean)

            return await _all(cells, ask)
    finally:
        process.terminate()
        await process.communicate()


async def batch(config: Path, cells: Sequence[Cell], dials: Path) -> dict[str, Outcome]:
    """Through `ai-client batch`, a line for each cell."""
    folder = config.parent
    lines = [
        json.dumps({"custom_id": cell.name, "method": "POST", "url": "/v1/chat/completions", "body": question(cell)})
        for cell in cells
    ]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    process = await asyncio.create_subprocess_exec(
        *_command(dials), "batch", str(folder / "in.jsonl"), "-o", str(folder / "out.jsonl"), "--config", str(config),
        "--direct", "--concurrency", str(_AT_ONCE),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=_environment(), cwd=_ROOT,
    )  # fmt: skip
    said = b""
    try:
        async with asyncio.timeout(BATCH_SECONDS):
            _, said = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
    outcomes = {cell.name: Outcome(hung=True, answers=0) for cell in cells}
    if process.returncode == STOPPED and len(cells) == 1:  # it stopped, with a reason: the line stays to be answered
        outcomes[cells[0].name] = Outcome(error=said.decode(errors="replace"))
        return outcomes
    for name in ("out.jsonl", "out.errors.jsonl"):
        path = folder / name
        for line in path.read_text().splitlines() if path.exists() else ():
            _read_line(json.loads(line), outcomes)
    return outcomes


FACES: Final[dict[str, Callable[[Path, Sequence[Cell], Path], Awaitable[dict[str, Outcome]]]]] = {
    "library": library,
    "daemon": daemon,
    "batch": batch,
}
"""Each takes a configuration, its cells, and where to write down the connections that it begins."""


async def _all(cells: Sequence[Cell], ask: Callable[[Cell, Outcome], Awaitable[None]]) -> dict[str, Outcome]:
    gate = asyncio.Semaphore(_AT_ONCE)
    outcomes = {cell.name: Outcome() for cell in cells}
    loop = asyncio.get_running_loop()

    async def one(cell: Cell) -> None:
        outcome = outcomes[cell.name]
        async with gate:
            begin = loop.time()
            try:
                async with asyncio.timeout(HANG_SECONDS):
                    await ask(cell, outcome)
            except TimeoutError:
                outcome.hung = True
            outcome.seconds = loop.time() - begin

    await asyncio.gather(*(one(cell) for cell in cells))
    return outcomes


def _read(status: int, body: bytes, outcome: Outcome, *, stream: bool, clean: bool) -> None:
    """An answer of the daemon, as any client would understand it."""
    if status != 200:
        outcome.status, outcome.error = status, _message(body)
    elif not stream:
        outcome.text = _content(_parsed(body))
        outcome.whole = clean
    else:
        done = False
        for line in body.split(b"\n"):
            if not line.startswith(b"data: "):
                continue
            data = line[6:].strip()
            if data == b"[DONE]":
                done = True
            elif b'"error"' in data:
                outcome.error = _message(data)
                outcome.status = 502
            else:
                outcome.text += _delta(json.loads(data))
        # a client takes either for the end of a sound stream
        outcome.whole = done or (clean and not outcome.error)


def _read_line(line: dict[str, Any], outcomes: dict[str, Outcome]) -> None:
    outcome = outcomes[line["custom_id"]]
    outcome.answers += 1
    outcome.hung = False
    response = line.get("response") or {}
    if response.get("status_code") == 200:
        outcome.text = _content(response["body"])
        outcome.whole = True
        return
    error = line.get("error") or (response.get("body") or {}).get("error") or {}
    outcome.status = response.get("status_code") or 0
    outcome.error = error.get("message") or ""


def _content(answer: object) -> str:
    """The text of what was given out as an answer; all of it where it is none."""
    choices = answer.get("choices") if isinstance(answer, dict) else None
    return str(choices[0]["message"]["content"]) if choices else repr(answer)


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _delta(chunk: dict[str, Any]) -> str:
    return "".join((choice["delta"].get("content") or "") for choice in chunk["choices"])


def _command(dials: Path) -> tuple[str, ...]:
    return sys.executable, "-m", "faults.dials", str(dials)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AI_CLIENT_", "HOLYSHEEP_"))}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
