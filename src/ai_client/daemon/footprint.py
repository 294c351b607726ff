"""How much memory this process has, and how what it no longer needs is given back."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")  # proc(5): size, resident, …, in pages
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(statm: Path = _STATM) -> int:
    """Resident memory; 0 where the system does not tell it like Linux. It reads a file, so not for each call."""
    try:
        return int(statm.read_bytes().split()[1]) * _PAGE
    except OSError:
        return 0


def give_back() -> bool:
    """Have the C library return free memory to the system (malloc_trim(3), glibc); False where it has no such call.

    It keeps much of what a peak took; a bound on resident memory would then go on refusing long after it.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # not glibc
        return False
    return bool(trim(0))
