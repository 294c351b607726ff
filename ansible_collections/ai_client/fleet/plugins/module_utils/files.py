"""Files, links and folders of a node: what they are, what they should be, and bringing them there atomically."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be. `before` and `after` are shown in diff mode, and never hold a secret.

    `effect` says what its mending asks of the service: nothing, `reload`, `restart`, or `socket` (both units anew).
    """

    kind: str
    what: str
    before: str = ""
    after: str = ""
    effect: str = ""


@dataclass(frozen=True)
class File:
    """A file as it should be. The content of a `secret` one is compared and written, and never told."""

    path: str
    content: str
    mode: int
    owner: str
    group: str
    kind: str
    effect: str = ""
    secret: bool = False


@dataclass(frozen=True)
class Folder:
    """A folder as it should be."""

    path: str
    mode: int
    owner: str
    group: str


@dataclass(frozen=True)
class Saved:
    """What stood at a path before it was touched: nothing, a link, or a file."""

    path: str
    content: bytes | None = None
    link: str | None = None
    mode: int = 0
    uid: int = 0
    gid: int = 0


def compare_file(want: File) -> list[Difference]:
    """How the file at hand differs from the one that is wanted."""
    path = Path(want.path)
    if path.is_symlink() or not path.is_file():
        return [_content(want, "absent")]
    found: list[Difference] = []
    content = path.read_bytes()
    if content != want.content.encode():
        found.append(_content(want, content.decode("utf-8", "replace")))
    return found + _compare_access(want.path, want.mode, want.owner, want.group)


def compare_folder(want: Folder) -> list[Difference]:
    """How the folder at hand differs from the one that is wanted."""
    if not Path(want.path).is_dir():
        return [Difference("folder", want.path, "absent", "present")]
    return _compare_access(want.path, want.mode, want.owner, want.group)


def compare_link(path: str, target: str, kind: str, effect: str = "") -> list[Difference]:
    """How the symbolic link at `path` differs from one to `target`."""
    at = os.readlink(path) if os.path.islink(path) else "absent"
    return [] if at == target else [Difference(kind, path, at, target, effect)]


def _content(want: File, before: str) -> Difference:
    if want.secret:
        return Difference(want.kind, want.path, "absent" if before == "absent" else "another", "as given", want.effect)
    return Difference(want.kind, want.path, before, want.content, want.effect)


def _compare_access(path: str, mode: int, owner: str, group: str) -> list[Difference]:
    status = os.stat(path)
    before = f"{stat.S_IMODE(status.st_mode):04o} {_user(status.st_uid)}:{_group(status.st_gid)}"
    after = f"{mode:04o} {owner}:{group}"
    return [] if before == after else [Difference("mode", path, before, after)]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def save(path: str) -> Saved:
    """Remember what stands at `path`, so that `restore` can put it back."""
    if os.path.islink(path):
        return Saved(path, link=os.readlink(path))
    try:
        status = os.stat(path)
        content = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return Saved(path)
    return Saved(path, content, None, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)


def restore(saved: Saved) -> None:
    """Put back what `save` saw."""
    if saved.link is not None:
        link(saved.path, saved.link)
    elif saved.content is not None:
        _replace(saved.path, saved.content, saved.mode, saved.uid, saved.gid)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(saved.path)


def write(want: File) -> None:
    """Put the file there, whole or not at all."""
    uid, gid = pwd.getpwnam(want.owner).pw_uid, grp.getgrnam(want.group).gr_gid
    _replace(want.path, want.content.encode(), want.mode, uid, gid)


def make_folder(want: Folder) -> None:
    """Make the folder, and give it its owner and mode."""
    Path(want.path).mkdir(parents=True, exist_ok=True)
    shutil.chown(want.path, want.owner, want.group)
    os.chmod(want.path, want.mode)


def link(path: str, target: str) -> None:
    """Make `path` a symbolic link to `target`; whoever looks sees the old one or the new one, never none."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    beside = f"{path}.new-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)
    os.symlink(target, beside)
    os.replace(beside, path)


def _replace(path: str, content: bytes, mode: int, uid: int, gid: int) -> None:
    folder = os.path.dirname(path)
    Path(folder).mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=".new-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchown(file.fileno(), uid, gid)
            os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        if os.path.islink(path):
            os.unlink(path)
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(beside)
        raise
