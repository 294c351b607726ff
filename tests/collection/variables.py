"""The roles' variables, as their argument_specs.yml say: read without a YAML library.

The file is written by this project, in one style, so that a small reader will do; what it cannot read it refuses.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

ROLES = Path(__file__).resolve().parents[2] / "ansible_collections" / "ai_client" / "fleet" / "roles"
_OPTION = re.compile(r"^      (\w+):$")
_KEY = re.compile(r"^        (\w+):(?: (.*))?$")


def scalar(text: str) -> Any:
    """A value as YAML writes it on one line."""
    if text in ("true", "false"):
        return text == "true"
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def names() -> list[str]:
    """Every role."""
    return sorted(path.name for path in ROLES.iterdir())


def said_of(role: str) -> str:
    """The role in one line."""
    text = (ROLES / role / "meta" / "argument_specs.yml").read_text("utf-8")
    found = re.search(r"^    short_description: (.*)$", text, re.MULTILINE)
    assert found is not None, role
    return found[1]


def options(role: str = "client") -> dict[str, dict[str, Any]]:
    """Every variable with its type, description and default."""
    path = ROLES / role / "meta" / "argument_specs.yml"
    found: dict[str, dict[str, Any]] = {}  # as they are written, until a value is whole
    name = key = ""
    for line in path.read_text("utf-8").splitlines():
        if match := _OPTION.match(line):
            name = match[1]
            found[name] = {}
        elif name and (match := _KEY.match(line)):
            key = match[1]
            found[name][key] = match[2] or []
        elif name and line.startswith("          - "):
            found[name][key].append(line[12:])
        elif name and line.startswith("          "):
            found[name][key] = f"{found[name][key]} {line.strip()}"
    return {name: {key: _value(raw) for key, raw in each.items()} for name, each in found.items()}


def _value(raw: str | list[str]) -> Any:
    return [scalar(each) for each in raw] if isinstance(raw, list) else scalar(raw)


def defaults(role: str = "client", part: str = "defaults") -> dict[str, Any]:
    """The role's defaults, or what else it keeps in a flat file of that kind."""
    path = ROLES / role / part / "main.yml"
    found: dict[str, Any] = {}
    key = ""
    for line in path.read_text("utf-8").splitlines():
        if match := re.match(r"^(\w+):(?: (.*))?$", line):
            key = match[1]
            found[key] = scalar(match[2]) if match[2] else []
        elif line.startswith("  - "):
            found[key].append(scalar(line[4:]))
    return found
