"""What of a package a server needs to run it. Decides without I/O, and by the contents alone: same wheel, same files.

Left out are what extensions were compiled from, type stubs, a wheel's list of its own files (which would not be true of
what is left), and whatever in an extension the loader does not read: nine tenths of uvloop's are names for a debugger.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from ai_client.bundle.release import File

_NEEDLESS: Final = (".pyx", ".pxd", ".pxi", ".pyi", ".c", ".h", ".typed", ".dist-info/RECORD")
_ELF64: Final = b"\x7fELF\x02\x01"
"""Little-endian, as both of our architectures are."""
_OFFSET: Final = struct.Struct("<Q")
_SEGMENTS_AT: Final = 32
_SECTIONS_AT: Final = 40
_COUNTS: Final = struct.Struct("<HHHHH")
_COUNTS_AT: Final = 54
_END: Final = 64
"""Where an ELF header ends."""
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")


def lean(files: Mapping[str, File]) -> dict[str, File]:
    """The files without what no server needs."""
    kept = {name: file for name, file in files.items() if not name.endswith(_NEEDLESS)}
    return {name: file._replace(data=stripped(file.data)) for name, file in kept.items()}


def stripped(data: bytes) -> bytes:
    """A shared object cut off behind its last segment; anything else as it is.

    A loader reads the segments of the program header (elf(5)). The sections, which only linkers and debuggers read, are
    listed behind them, with symbols and debugging information; so the header is told that there are none.
    """
    if not data.startswith(_ELF64) or len(data) < _END:
        return data
    (at,) = _OFFSET.unpack_from(data, _SEGMENTS_AT)
    size, count, *_ = _COUNTS.unpack_from(data, _COUNTS_AT)
    if size != _SEGMENT.size or at + count * size > len(data):
        return data
    end = max((_end(data, at + number * size) for number in range(count)), default=0)
    if not _END < end <= len(data):
        return data
    cut = bytearray(data[:end])
    _OFFSET.pack_into(cut, _SECTIONS_AT, 0)
    _COUNTS.pack_into(cut, _COUNTS_AT, size, count, 0, 0, 0)
    return bytes(cut)


def _end(data: bytes, at: int) -> int:
    """Where a segment ends in the file: p_offset + p_filesz."""
    _, _, begin, _, _, length, _, _ = _SEGMENT.unpack_from(data, at)
    return int(begin + length)
