"""What is sent to a node to be run there: the collection's own modules, what they are asked, and the release.

Ansible's own way would send its library along, which the node has to compile each time: three quarters of the work of a run
that finds nothing to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MARK = "AI_CLIENT_FLEET "
"""What stands before the answer: others may print as well."""

_PACKAGE = "ansible_collections.ai_client.fleet.plugins.module_utils"
MODULES = (
    *("files", "gate", "spec", "systemd", "releases", "standin", "trial"),
    *("look", "apply", "absent", "node"),
)
"""Each after those that it imports."""
_BOOT = """\
import json, sys, types
asked = json.loads(sys.stdin.buffer.read(asked))
above = ""
for name in asked["package"].split("."):
    package = sys.modules[above + name] = types.ModuleType(above + name)
    above += name + "."
for name, source in asked.pop("modules"):
    module = sys.modules[above + name] = types.ModuleType(above + name)
    setattr(package, name, module)
    exec(compile(source, name + ".py", "exec"), module.__dict__)
print("\\n" + asked["mark"] + json.dumps(package.node.main(asked, sys.stdin.buffer.read())))
"""
COMMAND = "{python} -I -S -c 'import sys; read = sys.stdin.buffer.readline; asked = int(read()); exec(sys.stdin.buffer.read(int(read())))'"


class NoAnswerError(Exception):
    """The node's Python ended without an answer; the text is the last that it said."""


def pack(asked: dict[str, Any], archive: bytes) -> bytes:
    """The standard input of `COMMAND`."""
    room = Path(__file__).resolve().parents[1] / "module_utils"
    modules = [(name, (room / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    told = json.dumps({**asked, "modules": modules, "package": _PACKAGE, "mark": MARK}).encode()
    return b"%d\n%d\n%b%b%b" % (len(told), len(_BOOT), _BOOT.encode(), told, archive)


def answer(printed: str, complained: str) -> dict[str, Any]:
    """What the node answered. Raises `NoAnswerError`."""
    for line in reversed(printed.splitlines()):
        if line.startswith(MARK):
            told: dict[str, Any] = json.loads(line[len(MARK) :])
            return told
    raise NoAnswerError((complained or printed).strip()[-600:] or "it said nothing")
