"""What is wrong gets a clear error in OpenAI's shape, at once, and the daemon goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import ASK, HELLO, KEY, error_of, gateway, recorder, serving, write_config
from tests.running import Run
from tests.wire import Upstream, always, answer_with, dial, get, post

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("body", "says", "param"),
    [
        (b"", "the request has no body: send a JSON object", None),
        (b"{", "not valid JSON", None),
        (b'{"model": "gpt-4.1", "messages": [}', "not valid JSON", None),
        (b"[]", "expected `object`, got `array`", None),
        (b"null", "got `null`", None),
        (b'"text"', "got `str`", None),
        (b'{"model": "gpt-4.1"}', "messages is missing", "messages"),
        (b'{"model": null, "messages": []}', "expected `str`, got `null`", "model"),
        (b'{"model": "gpt-4.1", "messages": []}', "messages is empty: send at least one message", "messages"),
        (b'{"model": 7, "messages": []}', "expected `str`, got `int`", "model"),
        (b'{"model": "gpt-4.1", "messages": "hi"}', "expected `array`, got `str`", "messages"),
        (b'{"model": "gpt-4.1", "messages": [7]}', "expected `object`, got `int`", "messages[0]"),
        (b'{"model": "gpt-4.1", "messages": [{"content": "a"}]}', "missing required field `role`", None),
        (b'{"model": "gpt-4.1", "messages": [{"role": "user", "content": 5}]}', "got `int`", None),
        (b'{"model": "gpt-4.1", "messages": [{"role": "user"}], "stream": "yes"}', "got `str`", "stream"),
        (b'{"model": "gpt-4.1", "messages": [{"role": "user"}], "n": -1}', "must not be negative", "n"),
        (b'{"model": "gpt-4.1", "messages": [{"role": "user", "content": "\xff\xfe"}]}', "not valid UTF-8", None),
        (b"\x00\x01\x02", "not valid JSON", None),
        (b"[" * 100_000, "", None),
    ],
)  # fmt: skip
def test_a_body_that_makes_no_sense(run: Run, tmp_path: Path, body: bytes, says: str, param: str | None) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (simulator, client):
            answer = await client.post(CHAT, content=body)
            assert answer.status_code == 400
            error = error_of(answer)
            assert says.lower() in error["message"].lower()
            assert error["type"] == "invalid_request_error"
            if param is not None:
                assert error["param"] == param
            assert simulator.stats()["requests"] == 0
            assert (await client.post(CHAT, json=ASK)).status_code == 200

    run(scene())


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/completions", {"model": "gpt-4.1"}, "prompt"),
        ("/v1/completions", {"model": "gpt-4.1", "prompt": ""}, "prompt"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": []}, "input"),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": {}}, "input"),
        ("/v1/responses", {"model": 5, "input": "a"}, "model"),
        ("/v1/responses", {"model": "gpt-4.1", "input": 5}, "input"),
    ],
)
def test_so_at_the_other_endpoints(run: Run, tmp_path: Path, path: str, body: Any, param: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (_, client):
            answer = await client.post(path, json=body)
            assert answer.status_code == 400
            assert error_of(answer)["param"] == param

    run(scene())


def test_an_unknown_model_is_told_the_nearest(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (simulator, client):
            answer = await client.post(CHAT, json={**ASK, "model": "gpt-4"})
            error = error_of(answer)
            assert answer.status_code == 404
            assert (error["code"], error["param"]) == ("model_not_found", "model")
            assert "did you mean" in error["message"].lower()
            assert "gpt-4.1" in error["message"]
            assert simulator.stats()["requests"] == 0

    run(scene())


def test_a_body_that_is_too_large(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, sections={"daemon": {"max_body_mb": 1}}) as (_, client):
            big = {**ASK, "messages": [{"role": "user", "content": "a" * (1 << 20)}]}
            answer = await client.post(CHAT, json=big)
            assert answer.status_code == 413
            assert error_of(answer)["code"] == "request_too_large"
            assert (await client.post(CHAT, json=ASK)).status_code == 200

    run(scene())


def test_a_header_that_is_too_large(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, sections={"daemon": {"max_header_kb": 4, "max_headers": 20}}) as (_, client):
            answer = await client.post(CHAT, json=ASK, headers={"x-large": "a" * 5_000})
            assert answer.status_code == 431
            assert error_of(answer)["message"]
            many = await client.post(CHAT, json=ASK, headers={f"x-{number}": "a" for number in range(30)})
            assert many.status_code == 431

    run(scene())


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/chat/completions", "/chat/completions", "/health", "/favicon.ico"])
def test_a_route_that_is_none(run: Run, tmp_path: Path, path: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (_, client):
            answer = await client.post(path, json=ASK)
            assert answer.status_code == 404
            assert path in error_of(answer)["message"]
            assert "/v1/" in error_of(answer)["message"]

    run(scene())


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET"),
        ("POST", "/health/live", "GET"),
        ("PUT", "/metrics", "GET"),
        ("OPTIONS", "/v1/files", "DELETE, GET, HEAD, PATCH, POST, PUT"),
    ],
)
def test_a_method_that_is_wrong(run: Run, tmp_path: Path, method: str, path: str, allowed: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (simulator, client):
            answer = await client.request(method, path)
            assert answer.status_code == 405
            assert error_of(answer)["code"] == "method_not_allowed"
            assert answer.headers["allow"] == allowed
            assert simulator.stats()["requests"] == 0

    run(scene())


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        (post(CHAT, b'{"model": "g')[:-5], 400, "in the middle of a request"),
        (b"POST /v1/chat/comp", 400, "in the middle of a request"),
        (b"not HTTP at all\r\n\r\n", 400, ""),
        (b"POST /v1/models HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400, ""),
        (b"POST /v1/models HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", 400, ""),
        (get("/v1/models", version="1.1").replace(b"host: test\r\n", b""), 400, "Host"),
    ],
)
def test_a_request_that_is_broken(run: Run, tmp_path: Path, sent: bytes, status: int, says: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (simulator, client):
            async with dial((client.base_url.host, client.base_url.port or 0)) as raw:
                raw.send(sent)
                raw.writer.write_eof()
                answer = await raw.answer()
                assert answer.status == status
                assert says in json.loads(answer.body)["error"]["message"]
                assert await raw.ended() == b""
            assert simulator.stats()["requests"] == 0
            assert (await client.post(CHAT, json=ASK)).status_code == 200

    run(scene())


def test_a_request_that_does_not_arrive_in_time(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"daemon": {"header_timeout": 0.1, "body_timeout": 0.1}}
        async with gateway(tmp_path, sections=sections) as (_, client):
            for sent in (b"POST /v1/chat/comp", post(CHAT, b'{"model": "gpt')[:-3]):
                async with dial((client.base_url.host, client.base_url.port or 0)) as raw:
                    raw.send(sent)
                    answer = await raw.answer()
                    assert answer.status == 408
                    assert json.loads(answer.body)["error"]["code"] == "request_timeout"

    run(scene())


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("html:502", 502, "answered 502"),
        ("html:200", 502, "text/html; charset=utf-8 where JSON was due"),
        ("empty", 502, "an empty body"),
        ("length:more", 502, ""),
        ("length:fewer", 502, ""),
        ("bad-json", 502, "not the JSON it should be"),
        ("bad-gzip", 502, ""),
        ("reset", 502, ""),
        ("reset-after-headers", 502, ""),
        ("cut:reset", 502, ""),
        ("cut:fin", 502, ""),
        ("cut:close", 502, ""),
        ("status:500", 500, ""),
        ("status:403", 403, ""),
        ("context-length", 400, ""),
        ("content-filter", 400, ""),
    ],
)
def test_a_provider_that_misbehaves(run: Run, tmp_path: Path, fault: str, status: int, says: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, fault) as (simulator, client):
            answer = await client.post(CHAT, json=ASK)
            assert answer.status_code == status, answer.text
            error = error_of(answer)
            assert says in error["message"]
            assert KEY not in answer.text
            assert "<html" not in error["message"].lower() or len(error["message"]) < 500
            simulator.simulator.set_faults([])
            assert (await client.post(CHAT, json=ASK)).status_code == 200

    run(scene())


def test_a_provider_that_is_silent(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, "stall", sections={"api": {"timeout": 0.1}}) as (_, client):
            answer = await client.post(CHAT, json=ASK)
            assert answer.status_code == 504
            assert error_of(answer)["code"] == "upstream_timeout"

    run(scene())


def test_a_provider_that_is_not_there(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            config = write_config(tmp_path, upstream.url)
        async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as client:
            answer = await client.post(CHAT, json=ASK)
            assert answer.status_code == 502
            assert error_of(answer)["code"] == "connect_error"

    run(scene())


@pytest.mark.parametrize(
    "answer",
    [
        answer_with("HTTP/1.1 200 OK\ncontent-length: 5", b"{}"),
        answer_with("HTTP/1.1 200 OK\ncontent-length: x", b"{}"),
        answer_with("HTTP/1.1 200 OK\ntransfer-encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
        answer_with("HTTP/1.1 302 Found\nlocation: http://elsewhere/\ncontent-length: 0"),
        answer_with("HTTP/1.1 204 No Content"),
        answer_with("HTTP/1.1 200 OK\ncontent-length: 2\ncontent-encoding: br", b"{}"),
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
def test_a_provider_that_speaks_nonsense(run: Run, tmp_path: Path, answer: bytes) -> None:
    async def scene() -> None:
        talk = always(answer)
        async with Upstream(talk) as upstream:
            config = write_config(tmp_path, upstream.url + "/v1", {"api": {"timeout": 0.5}})
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as client:
                told = await client.post(CHAT, json={"model": "gpt-4.1", "messages": HELLO})
                assert told.status_code in {502, 504, 302}
                assert error_of(told)["message"]

    run(scene())


def test_a_provider_that_repeats_the_key(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as upstream:
            upstream.status = 401
            upstream.answer = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}}).encode()
            async with (
                serving(write_config(tmp_path, upstream.url)) as (_, url),
                httpx.AsyncClient(base_url=url) as client,
            ):
                answer = await client.post(CHAT, json=ASK)
                assert answer.status_code == 401
                assert "***" in error_of(answer)["message"]
                upstream.status = 429  # an error that is passed on as it came
                assert KEY not in (await client.post(CHAT, json=ASK)).text

    run(scene())
