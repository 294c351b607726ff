"""Looks over what was made, with nothing but the files themselves: no network, no installation."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any, Final

import msgspec

SUMS: Final = "SHA256SUMS"


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sums(folder: Path) -> str:
    """The lines of SHA256SUMS for all else in a folder, as `sha256sum -c` reads them."""
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    return "".join(f"{digest(path)}  {path.name}\n" for path in files)


def problems(folder: Path) -> list[str]:
    """All that is wrong with a release; nothing when it is whole."""
    stated = folder / SUMS
    if not stated.is_file():
        return [f"there is no {stated}: run make release"]
    found = []
    if stated.read_text() != sums(folder):
        found.append(f"{SUMS} does not fit the files")
    for wheel in folder.glob("*.whl"):
        found += [f"{wheel.name}: {each}" for each in _wheel(wheel)]
    for sdist in folder.glob("*.tar.gz"):
        found += [f"{sdist.name}: {each}" for each in _sdist(sdist)]
    kinds = {"*.whl": "wheel", "*.tar.gz": "sdist", "*.cdx.json": "bill of materials"}
    found += [
        f"there is no {kind}, or more than one" for mask, kind in kinds.items() if len(list(folder.glob(mask))) != 1
    ]
    for bill in folder.glob("*.cdx.json"):
        found += [f"{bill.name}: {each}" for each in _bill(bill)]
    return found


def _wheel(path: Path) -> list[str]:
    """A wheel's own record: every file is in it, with its hash."""
    found = []
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (record,) = (name for name in names if name.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1] for row in csv.reader(io.StringIO(wheel.read(record).decode()))}
        found += [f"{name} is not in its record" for name in sorted(names - rows.keys())]
        found += [f"{name} is missing" for name in sorted(rows.keys() - names)]
        for name in sorted(names & rows.keys() - {record}):
            got = base64.urlsafe_b64encode(hashlib.sha256(wheel.read(name)).digest()).rstrip(b"=").decode()
            if rows[name] != f"sha256={got}":
                found.append(f"{name} is not what its record says")
    return found


def _sdist(path: Path) -> list[str]:
    """A source distribution holds files and folders of its own, below one root."""
    root = path.name.removesuffix(".tar.gz")
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    strange = [each.name for each in members if not (each.isfile() or each.isdir()) or each.name.split("/")[0] != root]
    return [f"{name} is neither a file nor below {root}/" for name in strange]


def _bill(path: Path) -> list[str]:
    bill: dict[str, Any] = msgspec.json.decode(path.read_bytes())
    known = {each["bom-ref"] for each in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    named = {ref for each in bill["dependencies"] for ref in (each["ref"], *each["dependsOn"])}
    found = [f"{ref} is named and not listed" for ref in sorted(named - known)]
    bare = (each for each in bill["components"] if not any(ref.get("hashes") for ref in each["externalReferences"]))
    return [*found, *(f"{each['bom-ref']} has no hash" for each in bare)]
