"""Releases of the client, side by side: `ROOT/releases/ID`, complete when `.complete` stands in it.

`ROOT/current` and `ROOT/previous` are links to two of them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

from ansible_collections.ai_client.fleet.plugins.module_utils.files import Difference

MARKER = ".complete"
SUMS = "SHA256SUMS"
BYTECODE = ".bytecode"
"""The same for bytecode that was made on the node, for a Python that the controller does not have."""


class ReleaseError(Exception):
    """A release cannot be used; the text says why."""


def folder(root: str, release: str) -> Path:
    """Where a release stands."""
    return Path(root) / "releases" / release


def is_complete(root: str, release: str) -> bool:
    """Whether a release was unpacked to its end."""
    return bool(release) and (folder(root, release) / MARKER).is_file()


def linked(root: str, name: str) -> str:
    """The release that the link `current` or `previous` names; empty when there is none."""
    path = Path(root) / name
    return os.readlink(path).rpartition("/")[2] if path.is_symlink() else ""


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            total.update(piece)
    return total.hexdigest()


def unpack(root: str, release: str, archive: bytes, sha256: str) -> None:
    """Unpack `archive` as `release`; until the last file is there it has another name. Raises `ReleaseError`.

    Its own digest vouches for what is in it, so the files are not read again.
    """
    found = hashlib.sha256(archive).hexdigest()
    if found != sha256:
        raise ReleaseError(f"the archive is not what was sent: its SHA-256 is {found}, expected {sha256}")
    final = folder(root, release)
    beside = final.with_name(f".incoming-{release}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        _extract(archive, beside)
        os.chmod(beside, 0o755)
        faults = sorted(_wanted(beside).keys() ^ _names(beside))
        if faults:
            raise ReleaseError(f"release {release} does not match its {SUMS}: {faults[0]} is missing or too many")
        _compile(beside)
        (beside / MARKER).write_text(sha256 + "\n")
        if final.exists():  # broken, or half there: out of the way, then away
            broken = final.with_name(f".broken-{release}")
            shutil.rmtree(broken, ignore_errors=True)
            final.rename(broken)
            beside.rename(final)
            shutil.rmtree(broken, ignore_errors=True)
        else:
            beside.rename(final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _extract(archive: bytes, place: Path) -> None:
    """Write its files, root's, readable by all, and executable where they are. `tarfile` does the same at twice the cost."""
    made: set[str] = set()
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(archive)), mode="r:") as tar:
        for member in tar:
            _check(member)
            path = os.path.normpath(os.path.join(place, member.name))
            above = path if member.isdir() else os.path.dirname(path)
            if above not in made:
                os.makedirs(above, exist_ok=True)
                made.add(above)
            content = tar.extractfile(member)
            if content is not None:
                with open(path, "xb") as file:
                    file.write(content.read())
                    os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)


def _compile(place: Path) -> None:
    """Make the bytecode of a release that came without. Its .pyc files are never checked against their sources' times."""
    try:
        told = json.loads((place / "release.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    maker = place / "lib" / "ai_client" / "bundle" / "bytecode.py"
    if told.get("bytecode", True) or not maker.is_file():
        return
    python = f"/usr/bin/python{told['python']}"
    subprocess.run([python, "-S", str(maker), str(place / "lib")], check=True, capture_output=True)
    made = sorted(place.glob("lib/**/__pycache__/*.pyc"))
    (place / BYTECODE).write_text("".join(f"{digest(each)}  {each.relative_to(place)}\n" for each in made))


def _check(member: tarfile.TarInfo) -> None:
    parts = Path(member.name).parts
    if member.name.startswith("/") or ".." in parts or not (member.isfile() or member.isdir()):
        raise ReleaseError(f"the archive holds {member.name!r}: only files and folders below its root are taken")


def is_untouched(place: Path) -> bool:
    """Whether nothing in a release changed since it was completed: a look at every file, without reading any."""
    try:
        limit = (place / MARKER).stat().st_ctime_ns
    except OSError:
        return False
    if place.stat().st_mtime_ns > limit:  # its ctime does not count: the folder got its name after its marker
        return False
    for at, folders, files in os.walk(place):
        for name in folders + files:
            if os.lstat(os.path.join(at, name)).st_ctime_ns > limit:
                return False
    return True


def _wanted(place: Path) -> dict[str, str]:
    """The digest of every file that a release should have. Raises OSError."""
    lines = (place / SUMS).read_text(encoding="utf-8").splitlines()
    if (place / BYTECODE).is_file():
        lines += (place / BYTECODE).read_text(encoding="utf-8").splitlines()
    return {line[66:]: line[:64] for line in lines if len(line) > 66}


def _names(place: Path) -> set[str]:
    """Every file that a release has."""
    there = {os.path.relpath(os.path.join(at, name), place) for at, _folders, names in os.walk(place) for name in names}
    return there - {SUMS, MARKER, BYTECODE}


def verify(place: Path) -> list[Difference]:
    """What in a release is not as its SHA256SUMS says. A package (a folder below lib/) that lacks or is too many is
    told as one.
    """
    try:
        wanted, found = _wanted(place), _names(place)
    except OSError:
        return [Difference("release_file", str(place / SUMS), "absent", "present", "restart")]
    packages = {_package(name) for name in wanted}, {_package(name) for name in found}
    faults: dict[tuple[str, str], Difference] = {}
    for name in sorted(set(wanted) ^ found):
        package, state = _package(name), ("missing" if name in wanted else "not of this release")
        whole = package and (package in packages[0]) != (package in packages[1])
        kind, what = ("package", package) if whole else ("release_file", name)
        faults[kind, what] = Difference(kind, str(place / what), state, "as released", "restart")
    for name in sorted(set(wanted) & found):
        if digest(place / name) != wanted[name]:
            faults["release_file", name] = Difference(
                "release_file", str(place / name), "changed", "as released", "restart"
            )
    return list(faults.values())


def _package(name: str) -> str:
    parts = name.split("/")
    return "/".join(parts[:2]) if parts[0] == "lib" and len(parts) > 2 else ""


def prune(root: str, keep: int) -> list[str]:
    """Remove releases beyond `current`, `previous` and the newest others up to `keep` in all; tells which."""
    place = Path(root) / "releases"
    if not place.is_dir():
        return []
    held = {linked(root, "current"), linked(root, "previous")} - {""}
    others = sorted((each for each in place.iterdir() if each.name not in held), key=lambda each: -each.stat().st_mtime)
    complete = [each for each in others if (each / MARKER).is_file()]
    room = max(0, keep - len(held))
    gone = [each for each in others if each not in complete[:room]]
    for each in gone:
        shutil.rmtree(each, ignore_errors=True)
    return [each.name for each in gone]
