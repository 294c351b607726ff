"""Wheels (the binary distribution format of packaging.python.org): what is in one, and what it says of itself."""

from __future__ import annotations

import email.parser
import email.policy
import hashlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from ai_client.bundle.release import File
from ai_client.errors import AIClientError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel, unpacked: `files` as they lie beside one another in site-packages; `sha256` is the wheel's own."""

    name: str
    version: str
    license: str
    sha256: str
    files: Mapping[str, File]


def read(data: bytes, file_name: str) -> Wheel:
    """Unpack a wheel. Its scripts and C headers are left out. Raises `AIClientError` for what is not a sound wheel."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = dict(_files(archive, file_name))
    except zipfile.BadZipFile:
        raise AIClientError(f"{file_name} is not a wheel, or is damaged: fetch it again") from None
    metadata = [name for name in files if name.count("/") == 1 and name.endswith(".dist-info/METADATA")]
    if len(metadata) != 1:
        raise AIClientError(f"{file_name} is not a wheel: it has no METADATA")
    parsed = email.parser.BytesParser(policy=email.policy.compat32).parsebytes(
        files[metadata[0]].data, headersonly=True
    )
    said = {key.lower(): str(value) for key, value in parsed.items()}
    terms = said.get("license-expression") or said.get("license", "").partition("\n")[0]
    return Wheel(said["name"], said["version"], terms, hashlib.sha256(data).hexdigest(), files)


def _files(archive: zipfile.ZipFile, file_name: str) -> Iterator[tuple[str, File]]:
    for entry in archive.infolist():
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts:
            raise AIClientError(f"{file_name}: {entry.filename} lies outside of the wheel: do not use it")
        if entry.is_dir():
            continue
        parts = path.parts
        if parts[0].endswith(".data"):
            if parts[1] not in ("purelib", "platlib"):
                continue
            parts = parts[2:]
        yield "/".join(parts), File(archive.read(entry))
