"""The tutorial's questions, asked as they stand there, but for the ports: the headers that it names come."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.gateway import serving, simulated
from tests.running import Run

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
PROMISED = re.compile(r"`(x-ai-client-(?!cost)[a-z-]+: [^`]+)`")


def configuration(folder: Path, base_url: str) -> Path:
    """The first configuration of the tutorial, with the simulator's port and folders below `folder`."""
    text = TUTORIAL.split("```ini\n")[1].partition("```")[0]
    for stands, instead in (("http://127.0.0.1:8090/v1", base_url), ("/tmp/ai-client-tutorial", str(folder))):
        assert stands in text
        text = text.replace(stands, instead)
    path = folder / "ai-client.conf"
    path.write_text(f"{text}\n[monitoring]\nmetrics_port = 0\n")
    return path


@pytest.mark.parametrize("title", ["A question", "When the provider fails"])
def test_the_headers_are_those_that_the_text_names(run: Run, tmp_path: Path, title: str) -> None:
    if shutil.which("curl") is None and not os.environ.get("CI"):
        pytest.skip("there is no curl here")
    section = re.split(r"^## \d+\. ", TUTORIAL, flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(title))
    commands = [line for line in text.splitlines() if line.startswith("curl ")]
    promised = PROMISED.findall(text)
    assert len(promised) >= 2

    async def scene() -> None:
        async with simulated() as simulator, serving(configuration(tmp_path, simulator.url)) as (_, url):
            ports = {"http://127.0.0.1:8089": url, "http://127.0.0.1:8090": simulator.url.removesuffix("/v1")}
            said = b""
            for command in commands:
                (stands,) = (port for port in ports if port in command)
                words = shlex.split(command.replace(stands, ports[stands]))
                process = await asyncio.create_subprocess_exec(
                    *words, "--fail-with-body", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
                )
                out, err = await process.communicate()
                assert process.returncode == 0, out + err
                said += out
            headers = said.decode().splitlines()
            assert [header for header in promised if header not in headers] == []

    run(scene())
