"""`python -m release make DIR`: sdist, wheel, SBOM and SHA256SUMS of the commit. `python -m release check DIR`."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from release.check import SUMS, problems, sums
from release.lock import document, project_of, read_lock

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Make or check; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("what", choices=("make", "check"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commit", default="HEAD", help="what to make it of (default: HEAD)")
    asked = parser.parse_args()
    if asked.what == "make":
        make(asked.folder, asked.commit)
    found = problems(asked.folder)
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print((asked.folder / SUMS).read_text(), end="")
    return 1 if found else 0


def make(folder: Path, commit: str) -> None:
    """Make a release of a commit, and of nothing else that lies about, in a folder that is emptied first.

    Raises `subprocess.CalledProcessError` when git or the build fails.
    """
    epoch = int(_git("log", "-1", "--format=%ct", commit))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        source.mkdir()
        archive = Path(name) / "source.tar"
        _git("archive", "--format=tar", f"--output={archive}", commit)
        subprocess.run(["tar", "-xf", str(archive), "-C", str(source)], check=True)
        build(source, folder, epoch)
        project = project_of((source / "pyproject.toml").read_text())
        lock = read_lock((source / "requirements" / "dev.txt").read_text())
        (wheel,) = folder.glob("*.whl")
        version = wheel.name.split("-")[1]
        stamp = dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        (folder / f"ai_client-{version}.cdx.json").write_bytes(document(project, lock, version, stamp))
    (folder / SUMS).write_text(sums(folder))


def build(source: Path, folder: Path, epoch: int) -> None:
    """Have the locked build backend make sdist and wheel. `SOURCE_DATE_EPOCH` is the only time that it learns of."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(folder.resolve())],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
