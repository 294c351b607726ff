"""Wheels made for a test, and a lock that names them."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path


def wheel(name: str, version: str, files: Mapping[str, str], more: str = "") -> bytes:
    """A wheel that runs anywhere, with METADATA and WHEEL beside `files`; `more` is added to METADATA."""
    info = f"{name}-{version}.dist-info"
    told = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **files,
    }
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in told.items():
            archive.writestr(path, text)
    return data.getvalue()


def folder_of(folder: Path, **packages: bytes) -> Path:
    """A folder of wheels, all of version 1.0, with `lock.txt`, which names each by its hash."""
    folder.mkdir()
    lines = []
    for name, data in packages.items():
        (folder / f"{name}-1.0-py3-none-any.whl").write_bytes(data)
        lines.append(f"{name}==1.0 --hash=sha256:{hashlib.sha256(data).hexdigest()}\n")
    (folder / "lock.txt").write_text("".join(lines), "ascii")
    return folder
