"""A cut answer is an error through every face: the library's two, local ones, the SDK's, chat and batch."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from ai_client.client import AsyncAIClient
from ai_client.errors import AIClientError
from ai_client.openai_sdk import get_async_client, get_client
from ai_client.sync_client import AIClient
from faults.faces import write_config
from faults.matrix import Cell, matrix
from faults.server import FaultServer
from faults.wire import answer_text
from tests.gateway import COMMAND, serving
from tests.running import Run

CUT = ("reset", "short of its length", "no last chunk", "bad chunk", "bad JSON", "broken gzip")
CUT_STREAMS = (*CUT, "no [DONE]", "no finish_reason", "error event")


def cut(*, stream: bool) -> list[Cell]:
    """Every way to cut an answer, where nobody can put it right: streams in their middle, if they can be cut there."""
    found: dict[str, Cell] = {}
    for cell in matrix():
        wanted = cell.stream is stream and cell.fault.name in (CUT_STREAMS if stream else CUT)
        if wanted and cell.face == "library" and cell.mode == "plain" and cell.where in ("middle", "everywhere"):
            found.setdefault(cell.fault.name, cell)
            if cell.where == "middle":
                found[cell.fault.name] = cell
    assert len(found) == len(CUT_STREAMS if stream else CUT)
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a face finds its configuration, and a daemon."""

    config: Path
    url: str

    @property
    def address(self) -> str:
        """Of the daemon."""
        return self.url.removeprefix("http://")


def asked(cell: Cell) -> list[dict[str, str]]:
    """The messages of a call."""
    return [{"role": "user", "content": cell.name}]


def told(cell: Cell, text: str) -> str:
    """What came of an answer that ended as a whole one: nothing, or that it is whole, for a cut that was seen before
    anything was shown is rescued.
    """
    return "rescued" if text == answer_text(cell.name) else ""


def delta(chunk: dict[str, Any]) -> str:
    """The text in an event."""
    return "".join(choice["delta"].get("content") or "" for choice in chunk["choices"])


async def library(client: AsyncAIClient, cell: Cell) -> str:
    """The error's words."""
    try:
        async with client:
            if cell.stream:
                chunks = await client.chat_completion(asked(cell), cell.name, stream=True)
                return told(cell, "".join([delta(chunk) async for chunk in chunks]))
            answer = await client.chat_completion(asked(cell), cell.name)
            return told(cell, answer["choices"][0]["message"]["content"])
    except AIClientError as error:
        return str(error)


def sync_library(make: Callable[[], AIClient], cell: Cell) -> str:
    """The same without a loop."""
    try:
        with make() as client:
            if cell.stream:
                return told(cell, "".join(map(delta, client.chat_completion(asked(cell), cell.name, stream=True))))
            answer = client.chat_completion(asked(cell), cell.name)
            return told(cell, answer["choices"][0]["message"]["content"])
    except AIClientError as error:
        return str(error)


async def sdk(client: openai.AsyncOpenAI, cell: Cell) -> str:
    """The official client's."""
    create: Any = client.chat.completions.create  # its overloads want literals
    try:
        async with client:
            if cell.stream:
                chunks = await create(model=cell.name, messages=asked(cell), stream=True)
                return told(cell, "".join([delta(chunk.model_dump()) async for chunk in chunks]))
            answer = await create(model=cell.name, messages=asked(cell))
            return told(cell, answer.choices[0].message.content)
    except openai.APIError as error:
        return str(error)


def sync_sdk(make: Callable[[], openai.OpenAI], cell: Cell) -> str:
    """The same without a loop."""
    try:
        with make() as client:
            create: Any = client.chat.completions.create
            if cell.stream:
                chunks = create(model=cell.name, messages=asked(cell), stream=True)
                return told(cell, "".join(delta(chunk.model_dump()) for chunk in chunks))
            answer = create(model=cell.name, messages=asked(cell))
            return told(cell, answer.choices[0].message.content)
    except openai.APIError as error:
        return str(error)


def through_daemon(place: Place) -> openai.AsyncOpenAI:
    """The SDK, pointed at the daemon as any program would."""
    return openai.AsyncOpenAI(base_url=f"{place.url}/v1", api_key="any", max_retries=0)


Face = Callable[[Place, Cell], Awaitable[str]]
FACES: tuple[Face, ...] = (
    lambda place, cell: library(AsyncAIClient(config=place.config), cell),
    lambda place, cell: library(AsyncAIClient.local(place.address, config=place.config), cell),
    lambda place, cell: asyncio.to_thread(sync_library, lambda: AIClient(config=place.config), cell),
    lambda place, cell: asyncio.to_thread(
        sync_library, lambda: AIClient.local(place.address, config=place.config), cell
    ),
    lambda place, cell: sdk(get_async_client(AsyncAIClient(config=place.config)), cell),
    lambda place, cell: sdk(through_daemon(place), cell),
    lambda _, cell: asyncio.to_thread(sync_sdk, get_client, cell),
)
NAMES = ("async", "async local", "sync", "sync local", "async SDK", "SDK through the daemon", "sync SDK")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("face", FACES, ids=NAMES)
def test_a_cut_answer_is_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Face, *, stream: bool
) -> None:
    async def scene() -> None:
        found = cut(stream=stream)
        async with FaultServer({cell.name: cell for cell in found}) as server:
            config = write_config(tmp_path, server.port, {}, found)
            monkeypatch.setenv("AI_CLIENT_CONFIG", str(config))
            async with serving(config) as (_, url):
                said = await asyncio.gather(*(face(Place(config, url), cell) for cell in found))
        assert [cell.fault.name for cell, words in zip(found, said, strict=True) if not words] == []

    run(scene())


@pytest.mark.parametrize("way", ["direct", "daemon"])
def test_chat_ends_with_an_error_and_its_exit_code(run: Run, tmp_path: Path, way: str) -> None:
    async def ask(cell: Cell, config: Path, *route: str) -> tuple[Cell, int | None, bytes, bytes]:
        process = await asyncio.create_subprocess_exec(
            COMMAND, "chat", "--config", str(config), *route, "--model", cell.name, cell.name,
            stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        return cell, process.returncode, out, err

    async def scene() -> None:
        found = cut(stream=True)
        async with FaultServer({cell.name: cell for cell in found}) as server:
            config = write_config(tmp_path, server.port, {}, found)
            async with serving(config) as (_, url):
                route = ["--direct"] if way == "direct" else ["--local", url.removeprefix("http://")]
                ends = await asyncio.gather(*(ask(cell, config, *route) for cell in found))
        for cell, code, out, err in ends:
            if told(cell, out.decode().strip()):  # cut before anything was shown, and asked anew
                continue
            assert code == 1, cell.fault.name
            assert b"ai-client: " in err, cell.fault.name
            assert b"tokens in" not in err, cell.fault.name  # what stands below a whole answer
            assert answer_text(cell.name).startswith(out.decode().strip()), cell.fault.name
        assert sum(code == 1 for _, code, _, _ in ends) > len(ends) // 2

    run(scene())


@pytest.mark.parametrize("way", ["direct", "daemon"])
def test_a_batch_writes_it_down_as_an_error(run: Run, tmp_path: Path, way: str) -> None:
    async def scene() -> None:
        found = cut(stream=False)
        async with FaultServer({cell.name: cell for cell in found}) as server:
            config = write_config(tmp_path, server.port, {}, found)
            lines = [json.dumps({"custom_id": cell.name, "prompt": cell.name, "model": cell.name}) for cell in found]
            (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
            async with serving(config) as (_, url):
                route = ["--direct"] if way == "direct" else ["--local", url.removeprefix("http://")]
                process = await asyncio.create_subprocess_exec(
                    COMMAND, "batch", "in.jsonl", "-o", "out.jsonl", "--config", str(config), *route,
                    cwd=tmp_path, stdin=DEVNULL, stdout=PIPE, stderr=PIPE,
                )  # fmt: skip
                _, err = await process.communicate()
        assert process.returncode == 1, err
        assert (tmp_path / "out.jsonl").read_text() == ""
        failed = [json.loads(line) for line in (tmp_path / "out.errors.jsonl").read_text().splitlines()]
        assert {line["custom_id"] for line in failed} == {cell.name for cell in found}

    run(scene())
