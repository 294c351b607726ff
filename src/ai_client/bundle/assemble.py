"""Making releases: this very program, the packages of its lock, and their bytecode."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ai_client._version import __version__
from ai_client.bundle import archive, bytecode, fetch, release, sbom, wheel
from ai_client.bundle.lean import lean
from ai_client.bundle.release import Archive, File, Manifest
from ai_client.errors import AIClientError

_PACKAGE: Final = Path(__file__).parents[1]
_KEPT: Final = (
    ".pyenv/versions/{python}.*/bin/python{python}",
    ".local/share/uv/python/cpython-{python}.*/bin/python{python}",
)


def assemble(
    out: Path,
    targets: Iterable[tuple[str, str]],
    wheels: Path | None = None,
    interpreters: Sequence[str] = (),
) -> Manifest:
    """Write a bundle into the folder `out`: an archive and an SBOM for each (Python, architecture) of `targets`.

    `wheels` is a folder to take packages from, in place of the registry. `interpreters` are Pythons to compile with,
    beside those on the PATH. The same inputs give the same bytes. Earlier bundles stay. Raises `AIClientError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = [_one(out, python, arch, wheels, interpreters) for python, arch in targets]
    manifest = Manifest(release.FORMAT, __version__, made)
    told = {release.MANIFEST: File(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")}
    for part in made:
        for name in (part.file, sbom_name(part.file)):
            told[name] = File((out / name).read_bytes())
    (out / release.MANIFEST).write_bytes(told[release.MANIFEST].data)
    (out / release.SUMS).write_text(release.sums(told), "ascii")
    return manifest


def _one(out: Path, python: str, arch: str, wheels: Path | None, interpreters: Sequence[str]) -> Archive:
    if python not in fetch.PYTHONS or arch not in fetch.ARCHES:
        raise AIClientError(f"no release for Python {python} on {arch}: there are {fetch.PYTHONS} on {fetch.ARCHES}")
    with tempfile.TemporaryDirectory(prefix="ai-client-bundle-") as folder:
        fetched = fetch.fetch(python, arch, Path(folder), wheels)
        parts = [wheel.read(path.read_bytes(), path.name) for path in fetched]
    lib = dict(package_files(_PACKAGE))
    for part in parts:
        lib.update(lean(part.files))
    interpreter = find_interpreter(python, interpreters)
    if interpreter:
        lib.update(compiled(lib, interpreter))
    files = {f"lib/{name}": file for name, file in lib.items()}
    files[release.PROGRAM] = release.launcher(python)
    files = release.finished(files, __version__, python, arch, bytecode=interpreter is not None)
    made = release.release_of(files)
    data, name = archive.pack(files), release.archive_name(made)
    (out / name).write_bytes(data)
    (out / sbom_name(name)).write_bytes(sbom.sbom(made, parts))
    return Archive(made.id, python, arch, made.bytecode, name, hashlib.sha256(data).hexdigest(), len(data))


def sbom_name(archive_name: str) -> str:
    """The name of the SBOM beside an archive."""
    return archive_name.removesuffix(".tar.gz") + ".cdx.json"


def package_files(package: Path) -> dict[str, File]:
    """This program's own files, without what Python compiled beside them."""
    found = sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(package.parent).as_posix(): File(path.read_bytes()) for path in found}


def find_interpreter(python: str, candidates: Sequence[str] = ()) -> str | None:
    """A Python of this minor version that really runs; None if there is none.

    Looks at `candidates`, on the PATH, and where pyenv and uv keep theirs: a name on the PATH may stand for another.
    """
    kept = [str(path) for place in _KEPT for path in sorted(Path.home().glob(place.format(python=python)))]
    for candidate in (*candidates, f"/usr/bin/python{python}", f"python{python}", *kept):
        path = shutil.which(candidate)
        if path and _says(path) == python:
            return path
    return None


def _says(interpreter: str) -> str:
    asked = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([interpreter, "-I", "-c", asked], capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()


def compiled(lib: Mapping[str, File], interpreter: str) -> dict[str, File]:
    """The bytecode files of a tree of modules. Raises `AIClientError` if that Python fails."""
    with tempfile.TemporaryDirectory(prefix="ai-client-bundle-") as folder:
        root = Path(folder)
        for name, file in lib.items():
            if name.endswith(".py"):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_bytes(file.data)
        done = subprocess.run(  # noqa: S603
            [interpreter, "-S", "-s", "-P", bytecode.__file__, folder],
            capture_output=True,
            text=True,
            check=False,
            env={"PYTHONHASHSEED": "0"},  # the order of a set is part of the bytecode
        )
        if done.returncode:
            raise AIClientError(f"{interpreter} cannot compile the release: {done.stderr.strip()[-500:]}")
        return {path.relative_to(root).as_posix(): File(path.read_bytes()) for path in sorted(root.rglob("*.pyc"))}
