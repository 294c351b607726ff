"""The program `ai-client`: its table of commands, each imported only when it is called, and its entry point.

This room imports no other, so that `--version` answers at once; the group of commands is in `group.py`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ai_client._version import __version__

INTERRUPTED: Final = 130
"""128 + SIGINT: what a shell reports for a program that ^C ended."""


class Entry(NamedTuple):
    """Where a command lives, as `module:attribute`, and what it does, for the list in `--help`."""

    target: str
    summary: str


COMMANDS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "serve": Entry("ai_client.cli.serve:serve", "Run the daemon: an OpenAI-compatible endpoint for this node."),
        "simulate": Entry("ai_client.cli.simulate:simulate", "Run a provider to develop and test against."),
        "chat": Entry("ai_client.cli.chat:chat", "Ask a model and watch it answer."),
        "batch": Entry("ai_client.cli.batch:batch", "Answer every line of a file; resume where it stopped."),
        "bench": Entry("ai_client.cli.bench:bench", "Send requests at a given rate and report latency and cost."),
        "costs": Entry("ai_client.cli.costs:costs", "Show what was spent, on what, and by whom."),
        "limits": Entry("ai_client.cli.limits:limits", "Show how every limit stands, or plan one for a fleet."),
        "health": Entry("ai_client.cli.health:health", "Check configuration, key, provider and daemon."),
        "bundle": Entry("ai_client.cli.bundle:bundle", "Build releases that servers run without installing anything."),
        "demo": Entry("ai_client.cli.demo:demo", "Send real questions through a daemon and show what came of it."),
        "token": Entry("ai_client.cli.token:token", "Make a token for an app, and the hash the configuration keeps."),
        "config": Entry("ai_client.cli.config:config", "Check, show and explain the configuration."),
    }
)


def _open_what_is_closed() -> None:
    """Have standard input, output and error lead nowhere where the caller closed them (`2>&-`, some schedulers).

    Else the next file or socket that is opened gets their number: what is said then lands in it, and libuv aborts.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115  for good


def main() -> None:
    """The entry point of the program `ai-client`."""
    _open_what_is_closed()
    if sys.argv[1:] == ["--version"]:
        with contextlib.suppress(OSError):  # who cannot be told learns why from the group, as from every command
            sys.stdout.write(f"ai-client {__version__}\n")
            sys.stdout.flush()
            return
    try:
        importlib.import_module("ai_client.daemon.secrecy").keep_memory_private()  # before any key is read
        # click alone takes several times as long to import as the answer above takes to give.
        group = importlib.import_module("ai_client.cli.group")
    except KeyboardInterrupt:  # ^C right after the start; later ones are the group's
        sys.exit(INTERRUPTED)
    group.cli.main(prog_name="ai-client")
