"""What keeps keys and prompts inside this process: no core dump, and no look into it from outside."""

from __future__ import annotations

import ctypes
import resource
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # linux/prctl.h


def keep_memory_private() -> bool:
    """Let nothing of this process's memory reach a disk or another process of the same user.

    Without core dumps (core(5)), and not dumpable (prctl(2)): then `ptrace`, `/proc/PID/mem` and `/proc/PID/environ`
    are for root alone. What is set first cannot be raised again; children inherit it. False where the system knows no
    such thing.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):  # not Linux
        return False
    return bool(prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
