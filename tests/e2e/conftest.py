"""After every run: the provider's key is in nothing that was left behind, nor is a prompt in any log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway import HELLO, KEY

PROMPT: str = HELLO[0]["content"]


def leaks(folder: Path) -> list[str]:
    """Where the key is, outside configurations and the folder `keys`; where the prompt is, in logs and ledgers."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.suffix == ".conf" or path.parent.name == "keys":
            continue
        content = path.read_bytes()
        if KEY.encode() in content:
            found.append(f"the key is in {path}")
        kept = path.parent.name == "logs" or path.suffix == ".log" or "ledger" in path.name
        if kept and PROMPT.encode() in content:
            found.append(f"a prompt is in {path}")
    return found


@pytest.fixture(autouse=True)
def _nothing_leaks(tmp_path: Path) -> Iterator[None]:
    yield
    found = leaks(tmp_path)
    assert not found, "\n".join(found)
