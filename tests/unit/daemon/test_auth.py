"""Who calls."""

from __future__ import annotations

import hashlib

import pytest

from ai_client.config.snapshot import App
from ai_client.daemon.auth import Gate
from ai_client.errors import AuthenticationError, PermissionDeniedError
from ai_client.service import LOCAL_APP
from ai_client.transport.exchange import Request


def app(name: str, token: str = "", uid: int | None = None) -> App:
    return App(name=name, token_sha256=hashlib.sha256(token.encode()).hexdigest() if token else "", uid=uid)


def request(authorization: bytes | None = None, uid: int | None = None) -> Request:
    headers = [] if authorization is None else [(b"authorization", authorization)]
    made = Request("GET", "/", "", headers, b"", keep_alive=True)
    made.peer_uid = uid
    return made


def gate(*apps: App) -> Gate:
    return Gate({each.name: each for each in apps})


def test_without_apps_everybody_is_local() -> None:
    assert gate().identify(request(b"Bearer anything")) is LOCAL_APP
    assert not gate().demands_tokens


@pytest.mark.parametrize("header", [b"Bearer one", b"bearer one", b"BEARER  one "])
def test_a_token_names_its_app(header: bytes) -> None:
    first, second = app("a", "one"), app("b", "two")
    assert gate(second, first).identify(request(header)) is first
    assert gate(first, second).demands_tokens


@pytest.mark.parametrize(
    "header", [None, b"", b"one", b"Bearer", b"Bearer ", b"Bearer on", b"Basic one", b"Bearer \xff"]
)
def test_what_is_no_token_is_refused_and_not_repeated(header: bytes | None) -> None:
    with pytest.raises(AuthenticationError) as caught:
        gate(app("a", "one")).identify(request(header))
    assert caught.value.status == 401
    assert "on'" not in caught.value.message


def test_a_uid_names_its_app_on_the_unix_socket_alone() -> None:
    mine, other = app("a", uid=1000), app("b", "two", uid=1001)
    assert gate(mine, other).identify(request(uid=1000)) is mine
    assert gate(mine, other).identify(request(b"Bearer two", uid=1000)) is mine
    assert gate(mine, other).identify(request(b"Bearer two", uid=7)) is other
    assert not gate(mine).demands_tokens
    for stranger in (request(), request(uid=0)):
        with pytest.raises(AuthenticationError):
            gate(mine).identify(stranger)


def test_a_token_that_is_nothing_is_nobodys() -> None:
    with pytest.raises(AuthenticationError):
        gate(app("a", uid=1000)).identify(request(b"Bearer "))


def asked(headers: dict[str, str], uid: int | None = None) -> Request:
    said = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    made = Request("POST", "/v1/chat/completions", "", said, b"", keep_alive=True)
    made.peer_uid = uid
    return made


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": "127.0.0.1:8089"},
        {"host": "[::1]:8089"},
        {"host": "[::1]"},
        {"host": "LocalHost:8089"},
        {"host": "node7"},
        {"host": "app.localhost"},
        {"host": "AI.example:80"},
        {"host": "192.0.2.1"},
        {"host": "localhost", "origin": "http://localhost:3000"},
    ],
)
def test_this_nodes_programs_call_it_by_names_that_are_its_own(headers: dict[str, str]) -> None:
    Gate({}, ("Ai.example",)).keep_pages_out(asked(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:8089"},  # whose address is 127.0.0.1, since a minute ago
        {"host": "127.0.0.1.evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "ai.example.evil.example"},
        {"host": "x@127.0.0.1"},
        {"host": "127.1"},
        {"host": "localhost\xff.a"},
        {"host": "127.0.0.1", "origin": "https://evil.example"},
        {"host": "127.0.0.1", "origin": "null"},
        {"host": "127.0.0.1", "origin": "http://127.0.0.1.evil.example:80"},
        {"host": "127.0.0.1", "origin": "chrome-extension://a.b"},
    ],
)
def test_a_web_page_is_kept_out(headers: dict[str, str]) -> None:
    with pytest.raises(PermissionDeniedError, match="names another site"):
        Gate({}, ("ai.example",)).keep_pages_out(asked(headers))
    Gate({}).keep_pages_out(asked(headers, uid=1000))  # no browser speaks to a Unix socket
    gate(app("a", "one")).keep_pages_out(asked(headers))  # nor does a page know a token


def test_names_that_were_found_to_be_its_own_are_remembered_up_to_a_number() -> None:
    made = gate()
    for number in range(200):
        made.keep_pages_out(asked({"host": f"node{number}"}))
        made.keep_pages_out(asked({"host": "localhost"}))
    assert len(made._here) == 100
