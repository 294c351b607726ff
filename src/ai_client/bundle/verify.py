"""Whether a bundle, or a release where it is installed, is still what was built."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from ai_client.bundle import archive, release
from ai_client.bundle.release import File, Manifest
from ai_client.errors import AIClientError


def verify(folder: Path) -> list[str]:
    """What is wrong with a folder that `ai-client bundle` wrote, or with an unpacked release; nothing if it is sound.

    Raises `AIClientError` if the folder is neither.
    """
    if (folder / release.MANIFEST).is_file():
        return _bundle(folder)
    if (folder / release.RELEASE).is_file():
        return release.differences(tree(folder))
    raise AIClientError(f"{folder} has neither {release.MANIFEST} nor {release.RELEASE}: nothing to verify there")


def tree(folder: Path) -> dict[str, File]:
    """The files of an unpacked release; not what begins with a dot at its top, such as an installer's marker."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("."):
            found[name] = File(path.read_bytes(), bool(path.stat().st_mode & 0o100))
    return found


def _bundle(folder: Path) -> list[str]:
    try:
        manifest = msgspec.json.decode((folder / release.MANIFEST).read_bytes(), type=Manifest)
    except msgspec.MsgspecError as error:
        raise AIClientError(f"{folder / release.MANIFEST} is damaged: {error}") from None
    wrong = _sums(folder)
    for part in manifest.releases:
        path = folder / part.file
        if not path.is_file():
            continue  # its absence was told above
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != part.sha256:
            wrong.append(f"{part.file}: not the archive that {release.MANIFEST} names")
            continue
        files = archive.unpack(data, part.file)
        wrong += [f"{part.file}: {difference}" for difference in release.differences(files)]
        said = release.release_of(files)
        if (said.id, said.python, said.arch, said.bytecode) != (part.id, part.python, part.arch, part.bytecode):
            wrong.append(f"{part.file}: {release.RELEASE} says {said.id}, {release.MANIFEST} says {part.id}")
    return wrong


def _sums(folder: Path) -> list[str]:
    """Only what SHA256SUMS names: a folder may keep archives of earlier bundles."""
    listed = folder / release.SUMS
    if not listed.is_file():
        return [f"missing: {release.SUMS}"]
    wrong = []
    for line in listed.read_text("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            wrong.append(f"missing: {name}")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            wrong.append(f"changed: {name}")
    return wrong
