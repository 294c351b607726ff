"""`python -m fuzz TARGET SECONDS`: look for bytes that break a target, guided by coverage (Atheris, libFuzzer).

What breaks one is kept beside its seeds in tests/fuzz/corpus, where the tests try it from then on. What only reached
new code is kept in .fuzz, and is where the next run begins.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import atheris  # type: ignore[import-untyped]  # installed where it is run, in .venv-fuzz

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Run one target for so many seconds; exits with 77 when it broke."""
    name, seconds = sys.argv[1], sys.argv[2]
    with atheris.instrument_imports(include=["ai_client"]):
        targets = importlib.import_module("fuzz.targets")
    found = ROOT / ".fuzz" / name
    found.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests" / "fuzz" / "corpus" / name
    options = [f"-max_total_time={seconds}", "-max_len=4096", "-timeout=20", "-print_final_stats=1", "-verbosity=0"]
    words = ROOT / "fuzz" / f"{name}.dict"
    if words.exists():
        options.append(f"-dict={words}")
    # libFuzzer keeps what it finds in the first folder and begins with what is in both
    atheris.Setup(
        ["fuzz", *options, f"-artifact_prefix={seeds}/broken-", str(found), str(seeds)], targets.TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
