"""What is sent to a node runs there with nothing but the node's Python."""

from __future__ import annotations

import ast
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.ai_client.fleet.plugins.plugin_utils import desired, payload
from tests.collection.test_desired import RELEASE, values


def run(given: bytes, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    command = payload.COMMAND.format(python=shlex.quote(sys.executable))
    (tmp_path / "given").write_bytes(given)
    with (tmp_path / "given").open("rb") as file:
        return subprocess.run(["sh", "-c", command], stdin=file, capture_output=True, text=True, check=False)


def test_the_program_answers(tmp_path: Path) -> None:
    # a whole node in a place where there is none, so that it says the same for every user of this machine
    spec, secrets = desired.document(values(), RELEASE, list(desired.ALL_PARTS), "")
    spec |= {"root": str(tmp_path / "opt"), "service": "nowhere.service"}
    done = run(payload.pack({"state": "asked", "spec": spec, "secrets": secrets, "check": True}, b"12"), tmp_path)
    told = payload.answer("a message of the day\n" + done.stdout, done.stderr)
    assert told["release"] == {"current": "", "previous": ""}
    assert told["key_ids"] == {"ai-client-api-key": ""}


def test_what_is_no_answer_says_what_was_said(tmp_path: Path) -> None:
    done = run(payload.pack({"state": "asked", "spec": {}, "secrets": {}, "check": True}, b""), tmp_path)
    with pytest.raises(payload.NoAnswerError, match="KeyError: 'folders'"):
        payload.answer(done.stdout, done.stderr)
    with pytest.raises(payload.NoAnswerError, match="it said nothing"):
        payload.answer("", "")


def test_every_module_is_sent_after_those_that_it_needs() -> None:
    room = Path(payload.__file__).parents[1] / "module_utils"
    sent: list[str] = []
    for name in payload.MODULES:
        for node in ast.walk(ast.parse((room / f"{name}.py").read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("ansible"):
                inner = node.module.partition("module_utils.")[2]
                needed = [inner] if inner else [each.name for each in node.names]
                assert set(needed) <= set(sent), f"{name} needs {needed}"
        sent.append(name)
