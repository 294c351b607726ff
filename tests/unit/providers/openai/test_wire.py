"""Requests as bytes: untouched where they can be, changed where they must, and one request each."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_client.errors import AuthenticationError, InvalidRequestError
from ai_client.model.call import Call, Target
from ai_client.model.request import Endpoint, Fields
from ai_client.providers.openai.wire import Wire, forwarded
from ai_client.transport.pool import Origin
from tests.calls import BODY, make_attempt, make_call, streaming

PLAIN = Target("p", "m", "m")
HOST = b"host: api.test\r\nuser-agent: ua/1\r\naccept-encoding: identity\r\nauthorization: Bearer hs_key\r\n"


def wire(url: str = "https://api.test/v1", key: str = "hs_key", *, usage: bool = True) -> Wire:
    return Wire(Origin.parse(url), key, "ua/1", stream_usage=usage)


def ask(body: bytes, target: Target = PLAIN, *, usage: bool = True, **fields: Any) -> bytes:
    """The body that is sent."""
    asked = Fields("m", **fields)
    return wire(usage=usage).body(make_attempt(make_call(body=body, fields=asked), target))


def test_a_request() -> None:
    sent = wire().request(make_attempt(make_call(headers=[(b"openai-beta", b"x"), (b"content-type", b"text/odd")])))
    assert sent == (
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        + HOST
        + b"content-type: application/json\r\nopenai-beta: x\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )


def test_a_request_that_takes_a_text_up() -> None:
    styles = {"m": "prefix"}
    made = Wire(Origin.parse("https://api.test/v1"), "", "ua/1", stream_usage=False, styles=styles)
    call = streaming(prefill="The an")
    asked = msgspec.json.decode(made.body(make_attempt(call)))
    assert asked["messages"] == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "The an", "prefix": True},
    ]
    plain = msgspec.json.decode(made.body(make_attempt(call, Target("p", "other", "m"))))
    assert plain["messages"][1] == {"role": "assistant", "content": "The an"}


def test_a_request_that_is_passed_through() -> None:
    headers = [(b"content-type", b"multipart/form-data; boundary=x"), (b"accept", b"*/*")]
    call = make_call(
        endpoint=Endpoint.OTHER, method="PUT", path="/files?a=%20b", body=b"\0\xff", fields=Fields(""), headers=headers
    )
    assert wire().request(make_attempt(call, Target("p", "", ""))) == (
        b"PUT /v1/files?a=%20b HTTP/1.1\r\n"
        + HOST
        + b"content-type: multipart/form-data; boundary=x\r\naccept: */*\r\ncontent-length: 2\r\n\r\n\0\xff"
    )


def test_without_a_key_nothing_is_authorised() -> None:
    assert b"authorization" not in wire(key="").request(make_attempt())


@pytest.mark.parametrize("key", ["a b", "a\n", "a\r\nx: y", 'é"', "\0"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    with pytest.raises(AuthenticationError, match="characters that no key has"):
        wire(key=key)


@pytest.mark.parametrize("text", [b"x\r\ny: z", b"x\ny: z", b"x\r", b"\0"])
@pytest.mark.parametrize("endpoint", [Endpoint.CHAT, Endpoint.OTHER])
def test_no_header_becomes_two(endpoint: Endpoint, text: bytes) -> None:
    for header in ((b"openai-beta", text), (text, b"x")):
        with pytest.raises(InvalidRequestError, match="line end"):
            wire().request(make_attempt(make_call(endpoint=endpoint, path="/x", headers=[header])))
    call = make_call(endpoint=Endpoint.OTHER, path="/x", headers=[(b"content-type", text)])
    with pytest.raises(InvalidRequestError, match="line end"):
        wire().request(make_attempt(call, Target("p", "", "")))


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/a b"), ("GET", "/a\r\nx: y"), ("GET /x HTTP/1.1\r\n", "/"), ("GET", "/é"), ("GET", "/\x7f")],
)
def test_no_request_becomes_two(method: str, path: str) -> None:
    with pytest.raises(InvalidRequestError, match="request line"):
        wire().request(make_attempt(make_call(endpoint=Endpoint.OTHER, method=method, path=path)))


ODD = b' { "model" : "m" ,\n"messages":[{"role":"user","content":"\\u0041\xc3\xa9"}], "x":1.0e0, "x":2 } '


def test_a_body_that_nothing_changes_is_the_same_bytes() -> None:
    assert ask(ODD) is ODD
    assert ask(ODD, Target("p", "m", "")) is ODD, "where the provider has no name of its own for it"
    assert ask(ODD, stream=True, include_usage=True) is ODD, "the caller asked for the usage itself"
    assert ask(ODD, stream=True, usage=False) is ODD, "nobody wants the usage"


def test_the_model_gets_the_name_that_the_provider_knows() -> None:
    sent = ask(b'{"a": 1.0, "model": "m", "big": 123456789012345678901234567890}', Target("p", "m", 'up/\u00e9"m'))
    assert sent == '{"a":1.0,"model":"up/é\\"m","big":123456789012345678901234567890}'.encode()


def test_a_model_is_named_where_the_default_is_meant() -> None:
    call = make_call(body=b'{"model":"","messages":[]}', fields=Fields(""))
    assert wire().body(make_attempt(call, PLAIN)) == b'{"model":"m","messages":[]}'


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (b"", b'{"include_usage":true}'),
        (b',"stream_options":null', b'{"include_usage":true}'),
        (b',"stream_options":{}', b'{"include_usage":true}'),
        (b',"stream_options":{"include_usage":false,"x": [1, 2]}', b'{"include_usage":true,"x":[1, 2]}'),
    ],
)
def test_the_usage_of_a_stream_is_asked_for(options: bytes, expected: bytes) -> None:
    sent = ask(b'{"model":"m","stream":true' + options + b"}", stream=True)
    assert sent == b'{"model":"m","stream":true,"stream_options":' + expected + b"}"


@pytest.mark.parametrize(
    ("endpoint", "stream", "adds"),
    [
        (Endpoint.CHAT, True, True),
        (Endpoint.COMPLETIONS, True, True),
        (Endpoint.CHAT, False, False),
        (Endpoint.RESPONSES, True, False),
        (Endpoint.OTHER, True, False),
    ],
)
def test_where_the_usage_is_asked_for(endpoint: Endpoint, stream: bool, adds: bool) -> None:
    call: Call = make_call(endpoint=endpoint, fields=Fields("m", stream))
    assert wire().adds_usage(call) is adds
    assert not wire(usage=False).adds_usage(call)


def test_the_rest_of_a_changed_body_keeps_its_bytes_and_its_order() -> None:
    sent = ask(b'{"z":"\\u0041","model":"m","a":{"b" : 1e0}}', Target("p", "m", "n"))
    assert sent == b'{"z":"\\u0041","model":"n","a":{"b" : 1e0}}'
    assert msgspec.json.decode(sent)["model"] == "n"


def test_only_some_headers_are_forwarded() -> None:
    kept = [(b"openai-beta", b"1"), (b"idempotency-key", b"2"), (b"content-type", b"3")]
    assert forwarded([(b"authorization", b"Bearer x"), *kept, (b"cookie", b"y"), (b"x-forwarded-for", b"z")]) == kept
