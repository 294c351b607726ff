"""Runs a script many times at once, each copy a process; for a peer's venv, so it needs the standard library only.

`python copies.py SCRIPT` reads a list of argument lists from its first line, imports what takes long, says `ready`, and
lets all copies begin at the moment that its second line names. The copies end when this process is killed.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import time


def main() -> None:
    """Fork, and wait for all."""
    script = sys.argv[1]
    arguments: list[list[str]] = json.loads(sys.stdin.readline())
    __import__("aiohttp")
    __import__("tiktoken").get_encoding("cl100k_base")
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    copies = []
    for each in arguments:
        copy = os.fork()
        if not copy:
            sys.argv = [script, *each]
            time.sleep(max(0.0, begin - time.time()))
            runpy.run_path(script, run_name="__main__")
            os._exit(0)
        copies.append(copy)
    for copy in copies:
        os.waitpid(copy, 0)


if __name__ == "__main__":
    main()
