"""Bytecode that stays valid."""

from __future__ import annotations

import importlib.util
import struct
from pathlib import Path

from ai_client.bundle.bytecode import compile_tree


def test_each_module_gets_bytecode_that_never_asks_for_its_source(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    source = tmp_path / "inner" / "a.py"
    source.write_text("a = 1\n", "ascii")
    (tmp_path / "template.py").write_text("def {{ name }}:\n", "ascii")
    assert compile_tree(tmp_path) == 1
    made = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    assert struct.unpack("<I", made[4:8]) == (0b01,)  # PEP 552: by hash, unchecked
    assert str(tmp_path).encode() not in made
