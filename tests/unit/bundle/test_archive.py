"""Archives of releases."""

from __future__ import annotations

import io
import tarfile

import pytest

from ai_client.bundle.archive import pack, unpack
from ai_client.bundle.release import File
from ai_client.errors import AIClientError

FILES = {"bin/run": File(b"#!", executable=True), "lib/a.py": File(b"a = 1\n")}


def test_what_is_packed_is_unpacked() -> None:
    assert unpack(pack(FILES), "a") == FILES


def test_same_files_same_bytes() -> None:
    assert pack(FILES) == pack(dict(reversed(FILES.items())))


def test_it_belongs_to_root_and_has_no_folder_before_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(pack(FILES))) as tar:
        told = [(entry.name, entry.mode, entry.uid, entry.uname) for entry in tar]
    assert told == [("bin/run", 0o755, 0, "root"), ("lib/a.py", 0o644, 0, "root")]


@pytest.mark.parametrize("name", ["../evil", "/etc/evil"])
def test_what_reaches_out_of_its_folder_is_refused(name: str) -> None:
    with pytest.raises(AIClientError, match="do not install it"):
        unpack(pack({name: File(b"")}), "a")


def test_a_link_is_refused() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        link = tarfile.TarInfo("lib/a.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(AIClientError, match=r"lib/a\.py is not a plain file"):
        unpack(data.getvalue(), "a")


@pytest.mark.parametrize("data", [b"", b"no archive", pack(FILES)[:60]])
def test_a_damaged_one_is_refused(data: bytes) -> None:
    with pytest.raises(AIClientError, match="damaged archive"):
        unpack(data, "a")
