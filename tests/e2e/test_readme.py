"""README's curl lines, run as they stand there, but for the port: a new user's first minute."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
from pathlib import Path

import msgspec
import pytest

from ai_client.transport.sse import DONE, EventParser
from tests.gateway import serving, simulated
from tests.running import Run

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DEFAULT = "http://127.0.0.1:8089"


def commands() -> list[str]:
    """The lines `$ curl …` of the blocks marked `console`."""
    blocks = [part.partition("```")[0] for part in README.split("```console\n")[1:]]
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ curl ")]


def example(folder: Path, base_url: str) -> Path:
    """The configuration that README names, with the simulator's port, and nothing kept outside of `folder`."""
    assert "--config examples/simulator.conf" in README
    text = (ROOT / "examples" / "simulator.conf").read_text()
    assert "http://127.0.0.1:8090/v1" in text
    assert "--listen 127.0.0.1:8090" in README
    path = folder / "simulator.conf"
    own = f"[caching]\ncache_dir = {folder / 'cache'}\n[monitoring]\nmetrics_port = 0\n"
    path.write_text(text.replace("http://127.0.0.1:8090/v1", base_url) + own)
    return path


def check(command: str, answer: bytes) -> None:
    """The answer has the shape that its route promises."""
    if "/metrics" in command:
        assert b"# TYPE " in answer
    elif '"stream": true' in command:
        events = EventParser().feed(answer)
        assert [event.data for event in events][-1] == DONE
        assert len(events) > 3
    else:
        object_ = msgspec.json.decode(answer, type=dict[str, msgspec.Raw])
        assert "error" not in object_
        assert object_.keys() & {"choices", "data", "status", "output"}


def test_there_are_examples_of_each_kind() -> None:
    text = "\n".join(commands())
    for part in ("/v1/chat/completions", '"stream": true', "/v1/models", "/health/", "/metrics"):
        assert part in text
    assert all(command.count(DEFAULT) == 1 for command in commands())


@pytest.mark.parametrize("command", commands())
def test_an_example_works(run: Run, tmp_path: Path, command: str) -> None:
    if shutil.which("curl") is None and not os.environ.get("CI"):
        pytest.skip("there is no curl here")

    async def scene() -> None:
        async with simulated() as simulator, serving(example(tmp_path, simulator.url)) as (_, url):
            arguments = shlex.split(command.replace(DEFAULT, url))
            assert url in " ".join(arguments)
            process = await asyncio.create_subprocess_exec(
                *arguments, "--fail-with-body", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
            answer, said = await process.communicate()
            assert process.returncode == 0, answer + said
            check(command, answer)

    run(scene())
