"""The variables of the role `client`, as its argument_specs.yml says: read without a YAML library.

The file is written by this project, in one style, so that a small reader will do; what it cannot read it refuses.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROLE = Path(__file__).resolve().parents[2] / "ansible_collections" / "ai_client" / "fleet" / "roles" / "client"
_OPTION = re.compile(r"^      (\w+):$")
_KEY = re.compile(r"^        (\w+):(?: (.*))?$")


def scalar(text: str) -> Any:
    """A value as YAML writes it on one line."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def options(path: Path = ROLE / "meta" / "argument_specs.yml") -> dict[str, dict[str, Any]]:
    """Every variable with its type, description and default."""
    found: dict[str, dict[str, Any]] = {}
    name = key = ""
    for line in path.read_text().splitlines():
        if match := _OPTION.match(line):
            name = match[1]
            found[name] = {}
        elif name and (match := _KEY.match(line)):
            key = match[1]
            found[name][key] = scalar(match[2]) if match[2] else []
        elif name and line.startswith("          - "):
            found[name][key].append(scalar(line[12:]))
        elif name and line.startswith("          "):
            found[name][key] = f"{found[name][key]} {line.strip()}"
    return found


def defaults(path: Path = ROLE / "defaults" / "main.yml") -> dict[str, Any]:
    """The role's defaults."""
    found: dict[str, Any] = {}
    key = ""
    for line in path.read_text().splitlines():
        if match := re.match(r"^(\w+):(?: (.*))?$", line):
            key = match[1]
            found[key] = scalar(match[2]) if match[2] else []
        elif line.startswith("  - "):
            found[key].append(scalar(line[4:]))
    return found
