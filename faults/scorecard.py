"""`python -m faults.scorecard [--peers] [--json FILE]`: sixteen published faults through our daemon, and its peers.

All at once, which takes as long as the longest: two minutes. The exit code is 0 when ours passes them all with streams
held until they are whole, and when as it comes it fails none.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import uvloop

from bench.peers import SkippedError, versions
from bench.processes import NotReadyError, Processes
from faults import systems
from faults.matrix import Cell, Fault
from faults.scenarios import SCENARIOS, Scenario, Seen
from faults.server import PRIMARY, SPARE, FaultServer
from faults.systems import PUBLISHED, System

VERDICTS: Final = ("pass", "partial", "safe", "fail")
_SOUND: Final = Fault("none", None, (), "nobody")
Card = dict[str, tuple[str, str]]
"""Verdict and reason, by the scenario's number."""


def cells(names: Sequence[str], scenarios: Sequence[Scenario]) -> dict[str, Cell]:
    """What the provider does to each call, by its last message: each scenario of each system, and what is sound."""
    found = {SPARE: Cell(SPARE, _SOUND, "once", stream=False, face="")}
    for name in names:
        for scenario in scenarios:
            cell = cell_name(name, scenario)
            found[cell] = Cell(cell, scenario.fault(), scenario.where, stream=True, face="", mode=scenario.mode)
    return found


def cell_name(system: str, scenario: Scenario) -> str:
    """The model and the message of a call."""
    return f"{system}-{scenario.number.lower()}"


async def ask(client: httpx.AsyncClient, system: System, model: str, message: str, patience: float) -> Seen:
    """One call, read as any client would; what it cannot read of a stream it leaves out."""
    seen, loop = Seen(), asyncio.get_running_loop()
    begun = loop.time()
    body = {"model": model, "stream": True, "stream_options": {"include_usage": True}}
    body["messages"] = [{"role": "user", "content": message}]
    url = f"http://127.0.0.1:{system.port}/v1/chat/completions"
    try:
        async with asyncio.timeout(patience):
            async with client.stream("POST", url, json=body, headers=dict(system.headers(model))) as answer:
                if answer.status_code != 200:
                    seen.error = (await answer.aread()).decode(errors="replace")
                else:
                    await _read(answer, seen)
    except TimeoutError:
        seen.hung = True
    except httpx.HTTPError as error:
        seen.error = seen.error or repr(error)
    seen.seconds = loop.time() - begun
    return seen


async def _read(answer: httpx.Response, seen: Seen) -> None:
    done = False
    async for line in answer.aiter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:"):
            continue
        if data == "[DONE]":
            done = True
            continue
        try:
            _take(json.loads(data), seen)
        except (ValueError, KeyError, TypeError):
            continue
    # a client takes either for the end of a sound stream
    seen.whole = not seen.error and (done or not answer.is_error)


def _take(event: dict[str, Any], seen: Seen) -> None:
    if "error" in event:
        seen.error = json.dumps(event["error"])
        return
    seen.model = event.get("model") or seen.model
    seen.usage = seen.usage or bool(event.get("usage"))
    for choice in event.get("choices", ()):
        seen.text += choice.get("delta", {}).get("content") or ""


async def play(server: FaultServer, system: System, name: str, scenario: Scenario) -> tuple[str, str]:
    """A scenario through a system; verdict and reason."""
    cell = cell_name(name, scenario)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=None, limits=limits, trust_env=False) as client:  # noqa: S113  ask() bounds it

        async def one(number: int) -> Seen:
            await asyncio.sleep(number * scenario.every)
            return await ask(client, system, cell, cell, scenario.patience)

        answers = await asyncio.gather(*(one(number) for number in range(scenario.times)))
        # of several, the worst is what counts
        seen = min(answers, key=lambda each: (each.whole, not each.hung, -each.seconds))
        if scenario.after:
            seen.alive = (await ask(client, system, SPARE, SPARE, 10)).whole
    seen.primary, seen.spare = (server.tries[cell, where] for where in (PRIMARY, SPARE))
    return scenario.judge(cell, seen)


Start = Callable[[Processes, int, Sequence[str]], Awaitable[System]]
OURS: Final[Mapping[str, Start]] = {
    "whole": lambda processes, port, models: systems.ours(processes, port, models, whole=True),
    "plain": lambda processes, port, models: systems.ours(processes, port, models, whole=False),
}
PEERS: Final[Mapping[str, Start]] = {"litellm": systems.litellm, "portkey": systems.portkey}


async def run(folder: Path, starts: Mapping[str, Start], scenarios: Sequence[Scenario]) -> dict[str, Card]:
    """Every scenario through every system, all at once; by the system's full name."""
    found: dict[str, Card] = {}
    with Processes(folder) as processes:
        async with FaultServer(cells(list(starts), scenarios)) as server:
            up: dict[str, System] = {}
            for name, start in starts.items():
                models = [cell_name(name, scenario) for scenario in scenarios]
                try:
                    up[name] = await start(processes, server.port, models)
                except (SkippedError, NotReadyError) as error:
                    print(f"left out: {error}", file=sys.stderr)
            pairs = [(name, scenario) for name in up for scenario in scenarios]
            results = await asyncio.gather(*(play(server, up[name], name, scenario) for name, scenario in pairs))
            for (name, scenario), result in zip(pairs, results, strict=True):
                found.setdefault(up[name].name, {})[scenario.number] = result
    return found


def table(found: Mapping[str, Card], scenarios: Sequence[Scenario]) -> str:
    """Markdown: each scenario by system, then how many of each verdict, the published ones below."""
    known = versions()
    names = [f"{name} {known[name]}" if name in known else name for name in found]
    lines = ["| fault | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for scenario in scenarios:
        results = [card[scenario.number] for card in found.values()]
        shown = [f"{verdict}: {why}" if why and verdict != "safe" else verdict for verdict, why in results]
        lines.append(f"| {scenario.number} {scenario.title} | " + " | ".join(shown) + " |")
    lines += ["", "| of 16 | " + " | ".join(VERDICTS) + " | |", "|---|---|---|---|---|---|"]
    for name, card in zip(names, found.values(), strict=True):
        counted = Counter(verdict for verdict, _ in card.values())
        lines.append(f"| {name} | " + " | ".join(str(counted[each]) for each in VERDICTS) + " | measured here |")
    for name, counts in PUBLISHED.items():
        lines.append(f"| {name} | " + " | ".join(map(str, counts)) + " | published |")
    return "\n".join(lines)


def passed(found: Mapping[str, Card]) -> bool:
    """Ours, held until whole, passes them all; as it comes it fails none."""
    whole, plain = (found.get(name, {}) for name in ("ai-client, commit = whole", "ai-client"))
    return (
        bool(whole and plain)
        and all(verdict == "pass" for verdict, _ in whole.values())
        and not any(verdict == "fail" for verdict, _ in plain.values())
    )


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m faults.scorecard", description="Run the published faults.")
    parser.add_argument("--peers", action="store_true", help="LiteLLM and Portkey as well, installed by name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every cell")
    chosen = parser.parse_args()
    starts = {**OURS, **(PEERS if chosen.peers else {})}
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(run(Path(folder), starts, SCENARIOS))
    print(table(found, SCENARIOS), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if passed(found) else 1


if __name__ == "__main__":
    sys.exit(main())
