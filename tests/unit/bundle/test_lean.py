"""What a server needs of a package, and what is left out."""

from __future__ import annotations

import ast
import struct
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from ai_client.bundle import fetch
from ai_client.bundle.lean import lean, stripped
from ai_client.bundle.release import File

_EXTENSION = next(
    Path(str(distribution("uvloop").locate_file(path)))
    for path in distribution("uvloop").files or ()
    if path.name.startswith("loop.") and path.suffix == ".so"
)
_LEFT_OUT = ("pygments", "markdown_it", "mdurl")
_UNLOADED = """
import importlib, pkgutil, sys
for name in {left_out!r}:
    sys.modules[name] = None
import ai_client
for found in pkgutil.walk_packages(ai_client.__path__, "ai_client."):
    importlib.import_module(found.name)
print(*(module.__file__ for name, module in sys.modules.items() if name.startswith("rich") and module))
"""


def elf(
    segments: list[tuple[int, int]], sections: bytes = b"names for a debugger", kind: bytes = b"\x7fELF\x02\x01"
) -> bytes:
    """A shared object of segments (begin, length), behind which lie `sections`."""
    header = bytearray(64)
    header[: len(kind)] = kind
    end = max((begin + length for begin, length in segments), default=64)
    struct.pack_into("<QQ", header, 32, 64, end)
    struct.pack_into("<HHHHH", header, 54, 56, len(segments), 64, 3, 2)
    table = b"".join(struct.pack("<IIQQQQQQ", 1, 5, begin, 0, 0, length, length, 8) for begin, length in segments)
    return (bytes(header) + table).ljust(end, b"x") + sections


def test_an_extension_ends_with_its_last_segment_and_names_no_sections() -> None:
    cut = stripped(elf([(0, 300), (400, 50), (0, 0)]))
    assert len(cut) == 450
    assert struct.unpack_from("<Q", cut, 40) == (0,)
    assert struct.unpack_from("<HHHHH", cut, 54) == (56, 3, 0, 0, 0)
    assert stripped(cut) == cut


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"\x7fELF\x02\x01",
        elf([(0, 300)], kind=b"\x7fELF\x01\x01"),
        elf([]),
        elf([(0, 300)], b"")[:-1],
    ],
)
def test_what_is_no_whole_shared_object_stays_as_it_is(data: bytes) -> None:
    assert stripped(data) == data


def test_a_header_that_tells_of_more_than_there_is_stays_as_it_is() -> None:
    data = bytearray(elf([(0, 300)]))
    struct.pack_into("<H", data, 56, 60_000)
    assert stripped(bytes(data)) == bytes(data)


def test_a_real_extension_is_loaded_and_works(tmp_path: Path) -> None:
    whole = _EXTENSION.read_bytes()
    made = tmp_path / "uvloop"
    made.mkdir()
    for path in _EXTENSION.parent.rglob("*.py"):
        at = made / path.relative_to(_EXTENSION.parent)
        at.parent.mkdir(exist_ok=True)
        at.write_bytes(path.read_bytes())
    (made / _EXTENSION.name).write_bytes(stripped(whole))
    asked = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import asyncio, uvloop"
    asked += "; uvloop.run(asyncio.sleep(0)); print(uvloop.__file__)"
    done = subprocess.run([sys.executable, "-ISB", "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(made / "__init__.py")
    assert len(stripped(whole)) < len(whole)


def test_what_no_server_runs_is_left_out() -> None:
    files = {
        name: File(b"")
        for name in (
            *("a/b.py", "a/b.so", "a/b.pyx", "a/b.pxd", "a/b.pxi", "a/b.pyi", "a/b.c", "a/b.h", "a/py.typed"),
            *("a-1.dist-info/RECORD", "a-1.dist-info/METADATA", "a-1.dist-info/licenses/LICENSE"),
        )
    }
    assert set(lean(files)) == {"a/b.py", "a/b.so", "a-1.dist-info/METADATA", "a-1.dist-info/licenses/LICENSE"}
    assert lean({"a": File(elf([(0, 300)]), executable=True)})["a"] == File(stripped(elf([(0, 300)])), executable=True)


def test_nothing_that_is_used_of_rich_wants_what_a_release_leaves_out() -> None:
    for python in fetch.PYTHONS:
        lock = fetch.lock(python).read_text("ascii")
        assert not any(f"{name}==" in lock for name in ("pygments", "markdown-it-py", "mdurl"))
    asked = _UNLOADED.format(left_out=_LEFT_OUT)
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    sources = [Path(name) for name in done.stdout.split()]
    assert len(sources) > 10
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & set(_LEFT_OUT), source
