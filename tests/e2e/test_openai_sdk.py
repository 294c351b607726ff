"""The official `openai` SDK, as it is now and at 1.12.0: its real calls, through the daemon and in-process."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.e2e import sdk_calls
from tests.gateway import serving, simulated, write_config
from tests.running import Run

ROOT = Path(__file__).parents[2]
OLD = ROOT / ".venv-sdk" / "bin" / "python"
SCRIPT = Path(sdk_calls.__file__)

ALWAYS = {
    *(
        "chat",
        "streaming_chat",
        "uncounted_stream",
        "stream_left_early",
        "broken_stream",
        "raw_response",
        "completions",
        "embeddings",
    ),
    *("models", "errors", "asynchronous"),
}
FAULTS = (
    f"status:429@retry-after=1,model={sdk_calls.REFUSES}",
    f"no-usage@model={sdk_calls.COUNTS_NOT}",
    f"cut:reset@after=5,model={sdk_calls.BREAKS}",
)


@pytest.fixture(params=["current", "1.12.0"])
def sdk(request: pytest.FixtureRequest) -> tuple[str, str]:
    """An interpreter that has the SDK, and the SDK's version in it."""
    if request.param == "current":
        return sys.executable, version("openai")
    if not OLD.exists() and not os.environ.get("CI"):
        pytest.skip("there is no .venv-sdk with openai 1.12.0: `make test` makes it")
    return str(OLD), "1.12.0"


async def calls(interpreter: str, environ: dict[str, str], *arguments: str) -> dict[str, object]:
    """Run the script; returns what it says it did."""
    process = await asyncio.create_subprocess_exec(
        *(interpreter, "-W", "error::ResourceWarning", str(SCRIPT), *arguments),
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    assert not said, said.decode()
    assert process.returncode == 0
    did: dict[str, object] = json.loads(out)
    return did


@pytest.mark.parametrize("way", ["daemon", "inside"])
def test_its_calls(run: Run, tmp_path: Path, sdk: tuple[str, str], way: str) -> None:
    interpreter, number = sdk

    async def scene() -> None:
        async with simulated(*FAULTS, token_ms=1, latency_ms=0) as simulator:
            config = write_config(tmp_path, simulator.url)
            if way == "daemon":
                async with serving(config) as (_, url):
                    did = await calls(interpreter, {}, way, url)
            else:
                did = await calls(interpreter, {"AI_CLIENT_CONFIG": str(config)}, way)
            assert did["version"] == number
            assert set(did["did"]) == ALWAYS | (set() if number == "1.12.0" else {"responses"})  # type: ignore[call-overload]
            assert simulator.stats()["in_flight"] == 0

    run(scene())
