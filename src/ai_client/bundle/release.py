"""What a release is: a tree of files, named after its contents. Decides without I/O.

The tree, and the archive of it, hold

    bin/ai-client    the program; runs under /usr/bin/python3.X of the server, from wherever the tree is put
    lib/…            the packages, with their bytecode
    release.json     `Release`: which release this is
    SHA256SUMS       of all other files, as sha256sum writes it

A folder made by `ai-client bundle` holds the archives, an SBOM beside each, SHA256SUMS of them, and `bundle.json`: a
`Manifest`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from ai_client.errors import AIClientError

FORMAT: Final = 1
MANIFEST: Final = "bundle.json"
SUMS: Final = "SHA256SUMS"
RELEASE: Final = "release.json"
PROGRAM: Final = "bin/ai-client"

_ID_DIGITS: Final = 12
_LAUNCHER: Final = """\
#!/usr/bin/python{python} -ISB
# -I: neither the environment nor the current folder can slip a module in; -S: nor can the system's own packages, and
# the start is faster; -B: a release stays as it was sent.
import os.path
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))

from ai_client.cli.main import main

main()
"""


class File(NamedTuple):
    """A file of a release: its bytes, and whether it is a program."""

    data: bytes
    executable: bool = False


class Release(msgspec.Struct, frozen=True):
    """`release.json`. `id` is the version and the first 12 digits of the sum of what is in it: same id, same bytes.

    `bytecode` is False where there was no such Python to compile with: whoever installs the release then compiles it.
    """

    id: str
    version: str
    python: str
    arch: str
    bytecode: bool


class Archive(msgspec.Struct, frozen=True):
    """A release as `bundle.json` lists it: `release.json`, and its archive's name, SHA-256 and size in bytes."""

    id: str
    python: str
    arch: str
    bytecode: bool
    file: str
    sha256: str
    bytes: int


class Manifest(msgspec.Struct, frozen=True):
    """`bundle.json`: every release of the folder."""

    format: int
    version: str
    releases: list[Archive]


def launcher(python: str) -> File:
    """`bin/ai-client` for a Python such as "3.11"."""
    return File(_LAUNCHER.format(python=python).encode(), executable=True)


def finished(files: Mapping[str, File], version: str, python: str, arch: str, *, bytecode: bool) -> dict[str, File]:
    """The files, sorted, with `release.json` and `SHA256SUMS`, which name and vouch for them."""
    modes = "".join(f"{name}\n" for name, file in sorted(files.items()) if file.executable)
    content = f"{python} {arch}\n{sums(files)}{modes}"
    digest = hashlib.sha256(content.encode()).hexdigest()[:_ID_DIGITS]
    release = Release(f"{version}-{digest}", version, python, arch, bytecode)
    named = {**files, RELEASE: File(msgspec.json.encode(release) + b"\n")}
    return dict(sorted({**named, SUMS: File(sums(named).encode())}.items()))


def release_of(files: Mapping[str, File]) -> Release:
    """What `release.json` says. Raises `AIClientError` if it is missing or says something else."""
    try:
        return msgspec.json.decode(files[RELEASE].data, type=Release)
    except (KeyError, msgspec.MsgspecError):
        raise AIClientError(f"{RELEASE} is missing or damaged: this is not a release of ai-client") from None


def archive_name(release: Release) -> str:
    """The name of a release's archive."""
    return f"ai-client-{release.id}-py{release.python}-{release.arch}.tar.gz"


def sums(files: Mapping[str, File]) -> str:
    """A line `digest  name` for each file, sorted by name, as `sha256sum --check` reads it."""
    return "".join(f"{hashlib.sha256(file.data).hexdigest()}  {name}\n" for name, file in sorted(files.items()))


def differences(files: Mapping[str, File]) -> list[str]:
    """What is not as the tree's own SHA256SUMS says: files changed, missing, or too many; one line each."""
    if SUMS not in files:
        return [f"{SUMS} is missing"]
    expected = {}
    for line in files[SUMS].data.decode("utf-8", "replace").splitlines():
        digest, _, name = line.partition("  ")
        expected[name] = digest
    found = {name: hashlib.sha256(file.data).hexdigest() for name, file in files.items() if name != SUMS}
    told = [f"missing: {name}" for name in expected.keys() - found.keys()]
    told += [f"too many: {name}" for name in found.keys() - expected.keys()]
    told += [f"changed: {name}" for name in found.keys() & expected.keys() if found[name] != expected[name]]
    return sorted(told)
