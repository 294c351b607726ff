"""What a request costs the daemon in bytecode instructions, function by function.

`python -m bench.instructions [--top 40]`. Time differs from run to run and from machine to machine; this does not. It
shows whether a change saves one part in a hundred, and where to look next. It counts what Python executes, not what C
does behind an instruction: measure the time as well before a change is kept. It needs nginx and wrk, as `bench` does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from ai_client.cli.main import main as ai_client
from ai_client.daemon.app import Handler
from bench import load, ours
from bench.contestant import JSON_HEADERS, Contestant
from bench.lab import Lab, find_tool
from bench.processes import PROXY_CORE, Processes, free_port, wait_until_answers

_WARM = 2_000
_REQUESTS = 3_000
_SECONDS = 8.0
"""Counting makes it slower by a factor of ten."""


def _serve(config: str, port: str, found: str) -> None:
    """In a process of its own: the daemon, which counts between two requests and writes what it found."""
    instructions: Counter[CodeType] = Counter()
    entered: Counter[CodeType] = Counter()
    seen = 0

    def count(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "opcode":
            instructions[frame.f_code] += 1
        return count

    def enter(frame: FrameType, _event: str, _argument: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        entered[frame.f_code] += 1
        return count

    def handle(handler: Handler, request: Any, exchange: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == _WARM:
            sys.settrace(enter)
        elif seen == _WARM + _REQUESTS:
            sys.settrace(None)
            rows = [(_name(code), times, entered[code]) for code, times in instructions.most_common()]
            Path(found).write_text(json.dumps(rows))
        return handle_for_real(handler, request, exchange)

    handle_for_real = Handler.__call__
    Handler.__call__ = handle  # type: ignore[method-assign,assignment]
    sys.argv = ["ai-client", "serve", "--config", config, "--listen", f"127.0.0.1:{port}"]
    ai_client()


def _name(code: CodeType) -> str:
    return f"{code.co_filename.rpartition('/ai_client/')[2]}:{code.co_firstlineno} {code.co_qualname}"


def _measure(lab: Lab) -> list[tuple[str, int, int]]:
    mock, port, found = lab.mock(), free_port(), lab.folder / "instructions.json"
    config = ours.write_config(lab.folder, port, mock.port)
    argv = [sys.executable, "-m", "bench.instructions", "--serve", str(config), str(port), str(found)]
    process = lab.processes.start("counted", argv, core=PROXY_CORE)
    wait_until_answers(process, port, JSON_HEADERS)
    load.run(lab.need_wrk(), lab.folder, Contestant("counted", port, process), _SECONDS)
    return [
        (name, times, entered) for name, times, entered in json.loads(found.read_text()) if "instructions" not in name
    ]


def main() -> None:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(prog="bench.instructions", description=__doc__)
    parser.add_argument("--top", type=int, default=40, help="so many functions")
    parser.add_argument("--serve", nargs=3, metavar=("CONFIG", "PORT", "FOUND"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        _serve(*options.serve)
        return
    with tempfile.TemporaryDirectory(prefix="ai-client-bench-") as folder, Processes(Path(folder)) as processes:
        rows = _measure(Lab(processes, find_tool("nginx"), find_tool("wrk"), quick=False, peers=False))
    total = sum(times for _, times, _ in rows)
    print(f"{total / _REQUESTS:8.1f} instructions a request, in {sum(row[2] for row in rows) / _REQUESTS:.1f} entries")
    for name, times, entered in rows[: options.top]:
        print(f"{times / _REQUESTS:8.1f} {entered / _REQUESTS:6.2f} {name}")


if __name__ == "__main__":
    main()
