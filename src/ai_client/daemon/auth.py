"""Who calls: known by a bearer token, or by the uid at the other end of the Unix socket."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Collection, Mapping

from ai_client.config.snapshot import App
from ai_client.errors import AuthenticationError, PermissionDeniedError
from ai_client.service import LOCAL_APP
from ai_client.transport.exchange import Request

_BEARER = b"bearer "
_WHERE = frozenset({b"host", b"origin"})
_MOST_NAMES = 100


class Gate:
    """Names the app behind a request. With no app configured, whoever reaches the listener is the app `local`."""

    def __init__(self, apps: Mapping[str, App], hosts: Collection[str] = ()) -> None:
        """`hosts` are names under which this node's programs know it, besides those that can be nobody else's."""
        self._hosts = frozenset(map(str.lower, hosts))
        self._here: set[bytes] = set()  # what was found to be so: most callers say the same
        self._by_uid = {app.uid: app for app in apps.values() if app.uid is not None}
        self._by_token = [(app.token_sha256, app) for app in apps.values() if app.token_sha256]
        self._open = not self._by_uid and not self._by_token

    @property
    def demands_tokens(self) -> bool:
        """Is every caller on TCP asked for a token?"""
        return bool(self._by_token)

    def keep_pages_out(self, request: Request) -> None:
        """Raises `PermissionDeniedError` for what a web page had a browser send, unless tokens are asked for anyhow.

        A page may post to loopback, and one whose own name is made to resolve to it (DNS rebinding) may read the
        answer, too. The browser then names that site in Origin or in Host. None speaks to a Unix socket.
        """
        if request.peer_uid is not None or self._by_token:
            return
        for name, value in request.headers:
            if name in _WHERE and value not in self._here and not self._is_here(value):
                raise PermissionDeniedError(
                    f"the header {name.decode()} names another site: call 127.0.0.1 or localhost, or add the name to "
                    "[daemon] hosts; web pages are not served"
                )

    def _is_here(self, said: bytes) -> bool:
        """Is this an origin, or a host with or without its port, that no site on the network can be?"""
        host = said.decode("latin-1").lower().rpartition("//")[2]
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        local = "." not in host and host != "null"  # who owns a name out there has a dot in it; a page may be "null"
        here = local or host in self._hosts or host.endswith(".localhost") or _is_address(host)
        if here and len(self._here) < _MOST_NAMES:
            self._here.add(said)
        return here

    def identify(self, request: Request) -> App:
        """The app that calls. Raises `AuthenticationError`, which never repeats what was presented."""
        if self._open:
            return LOCAL_APP
        app = self._by_uid.get(request.peer_uid) if request.peer_uid is not None else None
        if app is not None:
            return app
        presented = request.header(b"authorization") or b""
        if presented[:7].lower() == _BEARER:
            digest = hashlib.sha256(presented[7:].strip()).hexdigest()
            found = None
            for expected, candidate in self._by_token:  # all of them: the time taken tells nothing
                if hmac.compare_digest(digest, expected):
                    found = candidate
            if found is not None:
                return found
        raise AuthenticationError(
            "this daemon wants to know who calls: send `Authorization: Bearer TOKEN` with the token of one of its apps "
            "(--token-file FILE, for ai-client's commands)"
        )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
