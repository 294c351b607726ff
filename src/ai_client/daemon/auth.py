"""Who calls: known by a bearer token, or by the uid at the other end of the Unix socket."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from ai_client.config.snapshot import App
from ai_client.errors import AuthenticationError
from ai_client.service import LOCAL_APP
from ai_client.transport.exchange import Request

_BEARER = b"bearer "


class Gate:
    """Names the app behind a request. With no app configured, whoever reaches the listener is the app `local`."""

    def __init__(self, apps: Mapping[str, App]) -> None:
        self._by_uid = {app.uid: app for app in apps.values() if app.uid is not None}
        self._by_token = [(app.token_sha256, app) for app in apps.values() if app.token_sha256]
        self._open = not self._by_uid and not self._by_token

    @property
    def demands_tokens(self) -> bool:
        """Is every caller on TCP asked for a token?"""
        return bool(self._by_token)

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
            "this daemon wants to know who calls: send `Authorization: Bearer TOKEN` with the token of one of its apps"
        )
