"""Other releases, made of a sound one: a later version, and four that are broken on purpose."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ai_client.bundle import archive, release
from ai_client.bundle.release import File

_LIAR: Final = """\
import http.server, json, os, socket, socketserver, sys, threading

MODE = {mode!r}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self):
        return "somebody"
    def do_GET(self):
        self.answer(200, {{"status": "ok"}})
    def do_POST(self):
        if MODE == "hangs":
            threading.Event().wait()
        self.answer(500, {{"error": {{"message": "broken on purpose"}}}})
    def answer(self, status, told):
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

def sockets():
    if "--listen" in sys.argv:
        path = sys.argv[sys.argv.index("--listen") + 1].removeprefix("unix:")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        return [listener]
    return [socket.socket(fileno=3 + number) for number in range(int(os.environ.get("LISTEN_FDS", "0")))]

def serve(listener):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=Handler, args=(connection, ("somebody", 0), None), daemon=True).start()

if sys.argv[1:2] == ["serve"]:
    for listener in sockets():
        listener.setblocking(True)
        threading.Thread(target=serve, args=(listener,)).start()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
    threading.Event().wait()
"""

BROKEN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "crashes": "import sys\nif sys.argv[1:2] == ['serve']:\n    sys.exit('broken on purpose')\n",
        "crashes-once-switched-to": (
            "import os, sys\nif sys.argv[1:2] == ['serve'] and 'LISTEN_FDS' in os.environ:\n"
            "    sys.exit('broken on purpose')\n"
        ),
        "errors": _LIAR.format(mode="errors"),
        "hangs": _LIAR.format(mode="hangs"),
    }
)
"""What stands before the program in a release that crashes at its start, crashes where the candidate did not, answers
errors, or never answers."""


def variant(sound: Path, out: Path, version: str, before: str = "") -> Path:
    """A bundle in `out` like that in `sound`, of another version, with `before` put in front of the program."""
    out.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((sound / release.MANIFEST).read_bytes())
    made = []
    for part in manifest["releases"]:
        files = archive.unpack((sound / part["file"]).read_bytes(), part["file"])
        changed = {name: file for name, file in files.items() if name not in (release.RELEASE, release.SUMS)}
        changed = {name: file for name, file in changed.items() if "/_version.cpython" not in name}
        changed["lib/ai_client/_version.py"] = File(f'__version__ = "{version}"\n'.encode())
        first, _, rest = changed[release.PROGRAM].data.partition(b"\n")
        changed[release.PROGRAM] = File(b"\n".join((first, before.encode(), rest)), executable=True)
        complete = release.finished(changed, version, part["python"], part["arch"], bytecode=part["bytecode"])
        said, data = release.release_of(complete), archive.pack(complete)
        name = release.archive_name(said)
        (out / name).write_bytes(data)
        made.append(
            {**part, "id": said.id, "file": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        )
    (out / release.MANIFEST).write_text(json.dumps({**manifest, "version": version, "releases": made}), "ascii")
    return out
