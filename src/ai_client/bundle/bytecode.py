"""Compile a tree. Run as a file, by the Python that will run the tree, which may not be ours: standard library only.

    python3.X -S bytecode.py LIB

The bytecode is of the unchecked-hash kind (PEP 552): Python loads it without a look at the source. The usual kind holds
the source's date; unpacked elsewhere it would be compiled anew at every start, by servers that may not even keep it.
"""

from __future__ import annotations

import py_compile
import sys
from pathlib import Path


def compile_tree(lib: Path) -> int:
    """Compile each module under `lib`, in order of name; return how many. What is no Python is left out."""
    done = 0
    for source in sorted(lib.rglob("*.py")):
        try:
            py_compile.compile(
                str(source),
                dfile=str(source.relative_to(lib)),  # where it lies now is nobody's business; importing sets it right
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
        except py_compile.PyCompileError:
            continue  # a template of somebody's: pip leaves them as well
        done += 1
    return done


if __name__ == "__main__":
    sys.exit(0 if compile_tree(Path(sys.argv[1])) else 1)
