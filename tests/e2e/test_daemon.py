"""The daemon between a program and a provider: every byte, every header, every way out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.gateway import ASK, HELLO, KEY, error_of, gateway, recorder, recording, serving, simulated, write_config
from tests.running import Run
from tests.wire import dial, post, until

ODD = (
    '\n{ "messages" :[{"role":"user","content":"\\u00e9\\ud83d\\ude00 caf\u00e9","name":"a","x":1.0e0}],'
    '\t"model":"gpt-4.1",'
    '"temperature" : 0.50, "unheard_of":{"deep":[null,true,-0.0,1E400]}, "logit_bias":{"50256":-100}}\n'
).encode()
ODD_ANSWER = (
    b'{"choices":[{"finish_reason": "stop"}] ,"id" :"x", "model":"gpt-4.1","unknown":{"n":1.10},'
    b'"usage":{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"vendor":"\\u00fc"}}  '
)


def test_bodies_travel_byte_for_byte_both_ways(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.answer = ODD_ANSWER
            answer = await client.post("/v1/chat/completions", content=ODD)
            assert answer.status_code == 200
            assert answer.content == ODD_ANSWER
            (request,) = upstream.requests
            assert request.body == ODD
            assert (request.method, request.path, request.query) == ("POST", "/v1/chat/completions", "")
            assert request.header(b"content-type") == b"application/json"
            assert request.header(b"authorization") == b"Bearer " + KEY.encode()

    run(scene())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": HELLO}),
        ("/chat/completions", {"messages": HELLO, "stream": True}),
        ("/completions", {"prompt": "a"}),
        ("/responses", {"input": "a", "store": False}),
    ],
)
def test_a_call_that_names_no_model_gets_the_default(run: Run, tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            answer = await client.post(f"/v1{path}", json=body)
            assert answer.headers["x-ai-client-target"] == "holysheep/deepseek-v3.2"
            sent = json.loads(upstream.requests[0].body)
            assert (sent["model"], sent.keys() >= body.keys()) == ("deepseek-v3.2", True)

    run(scene())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/completions", {"model": "gpt-4.1", "prompt": "a"}),
        ("/embeddings", {"model": "text-embedding-3-small", "input": [1, 2]}),
        ("/responses", {"model": "gpt-4.1", "input": [{"role": "user", "content": "a"}], "store": False}),
    ],
)
def test_so_do_those_of_the_other_endpoints(run: Run, tmp_path: Path, path: str, body: Any) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            sent = json.dumps(body, indent=3).encode()
            answer = await client.post(f"/v1{path}", content=sent)
            assert (answer.status_code, answer.content) == (200, upstream.answer)
            assert (upstream.requests[0].path, upstream.requests[0].body) == (f"/v1{path}", sent)

    run(scene())


def test_only_what_has_to_change_is_changed(run: Run, tmp_path: Path) -> None:
    """An alias becomes the model's name, a provider's own name for it, and a stream is asked for its usage."""

    async def scene() -> None:
        async with recorder() as upstream:
            sections = {
                "routing": {"aliases": "fast: gemini-2.5-flash, far: remote-model"},
                "provider far": {
                    "base_url": upstream.url,
                    "models": "remote-model=vendor/remote-1",
                    "api_key": "other",
                },
            }
            config = write_config(tmp_path, upstream.url, sections)
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url) as client:
                await client.post("/v1/chat/completions", content=ODD.replace(b"gpt-4.1", b"fast"))
                await client.post("/v1/chat/completions", content=ODD.replace(b"gpt-4.1", b"far"))
                await client.post("/v1/chat/completions", json={**ASK, "stream": True, "stream_options": {"x": 1}})
            fast, far, streamed = upstream.requests
            for request, model, key in ((fast, b"gemini-2.5-flash", KEY), (far, b"vendor/remote-1", "other")):
                assert json.loads(request.body) == json.loads(ODD.replace(b"gpt-4.1", model))
                assert b'"temperature":0.50' in request.body  # a number keeps the form in which it was written
                assert request.header(b"authorization") == f"Bearer {key}".encode()
            assert json.loads(streamed.body)["stream_options"] == {"x": 1, "include_usage": True}

    run(scene())


def test_headers_tell_what_happened(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, sections={"caching": {"enabled": "true", "persistent": "no"}}) as (_, client):
            first = await client.post("/v1/chat/completions", json=ASK, headers={"x-request-id": "mine-1"})
            told = first.headers
            assert told["x-request-id"] == "mine-1"
            assert told["x-ai-client-target"] == "holysheep/gpt-4.1"
            assert told["x-ai-client-attempts"] == "1"
            assert told["x-ai-client-cache"] == "miss"
            assert float(told["x-ai-client-queue-ms"]) >= 0
            usage = first.json()["usage"]
            nano = usage["prompt_tokens"] * 2_000 + usage["completion_tokens"] * 8_000
            assert told["x-ai-client-cost-usd"] == f"0.{nano:09d}"
            assert told["x-upstream-request-id"].startswith("req_")
            again = await client.post("/v1/chat/completions", json=ASK)
            assert again.headers["x-ai-client-cache"] == "hit"
            assert again.headers["x-ai-client-cost-usd"] == "0.000000000"
            assert again.content == first.content
            assert again.headers["x-request-id"] != "mine-1"
            fresh = await client.post("/v1/chat/completions", json=ASK, headers={"cache-control": "no-cache"})
            assert "x-ai-client-cache" not in fresh.headers

    run(scene())


def test_the_callers_secrets_stay_here_and_its_wishes_travel(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.headers += [(b"set-cookie", b"a=b"), (b"x-ratelimit-remaining-requests", b"7"), (b"server", b"x")]
            answer = await client.post(
                "/v1/chat/completions",
                json=ASK,
                headers={"authorization": "Bearer own", "cookie": "c=d", "idempotency-key": "i", "openai-beta": "b"},
            )
            assert "set-cookie" not in answer.headers
            assert "server" not in answer.headers
            assert answer.headers["x-ratelimit-remaining-requests"] == "7"
            sent = dict(upstream.requests[0].headers)
            assert sent[b"authorization"] == b"Bearer " + KEY.encode()
            assert (sent[b"idempotency-key"], sent[b"openai-beta"]) == (b"i", b"b")
            assert b"cookie" not in sent

    run(scene())


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_other_paths_pass_with_method_query_and_body(run: Run, tmp_path: Path, method: str) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.status, upstream.answer = 201, b"[1, 2 ]"
            body = b"" if method == "GET" else b"\x00\xff any bytes"
            answer = await client.request(method, "/v1/files/a%20b?limit=2&after=%2F", content=body)
            assert (answer.status_code, answer.content) == (201, b"[1, 2 ]")
            (request,) = upstream.requests
            assert (request.method, request.path, request.query) == (method, "/v1/files/a%20b", "limit=2&after=%2F")
            assert request.body == body
            assert answer.headers["x-ai-client-target"] == "holysheep"

    run(scene())


def test_a_form_passes_as_it_is(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.answer, upstream.headers = b"1\n00:00:00 --> 00:00:02\n", [(b"content-type", b"text/plain")]
            answer = await client.post(
                "/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("a.wav", b"RIFF\x00\x01")}
            )
            assert (answer.text, answer.headers["content-type"]) == ("1\n00:00:00 --> 00:00:02\n", "text/plain")
            (request,) = upstream.requests
            assert (request.header(b"content-type") or b"").startswith(b"multipart/form-data; boundary=")
            assert b"RIFF\x00\x01" in request.body

    run(scene())


def test_a_pass_through_is_not_sent_twice_when_it_fails(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"api": {"max_retries": 2}, "routing": {"retry_base_delay": 0}}
        async with recording(tmp_path, sections) as (upstream, client):
            upstream.status, upstream.answer = 503, b'{"error": {"message": "not now"}}'
            assert (await client.post("/v1/files", content=b"x")).status_code == 503
            assert len(upstream.requests) == 1
            assert (await client.get("/v1/files")).status_code == 503
            assert len(upstream.requests) == 3  # GET may be sent once more

    run(scene())


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/files/../../admin",
        "/v1/%2e%2e/admin",
        "/v1/%252e%252e/admin",
        "/v1/a/.%25252e%252fadmin",
        "/v1/a/.%2E/%2e./admin",
        "/v1/..%2fadmin",
        "/v1/a/..%5c..%5cadmin",
        "/v1/a\\..\\admin",
        "/v1/..;/admin",
        "/v1/./admin",
    ],
)
def test_a_path_that_climbs_out_is_refused(run: Run, tmp_path: Path, path: str) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            where = (client.base_url.host, client.base_url.port or 0)
            async with dial(where) as raw:  # an ordinary client would tidy it up
                raw.send(post(path))
                answer = await raw.answer()
            assert answer.status == 400
            assert b"climbs out of /v1" in answer.body
            assert upstream.requests == []

    run(scene())


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/v1/a%0d%0ax-smuggled:%201", "no path has"),
        ("/v1/a%0Ab", "no path has"),
        ("/v1/a%00b", "no path has"),
        ("/v1/%25252525252e./admin", "again and again"),
        ("/v1//chat/completions", "/v1/chat/completions: write it so"),
        ("/v1/chat/completions/", "write it so"),
        ("/v1/chat%2fcompletions", "write it so"),
        ("/v1/chat/completion%73", "write it so"),
        ("/v1/Chat/completions", "write it so"),
        ("/v1/chat;a=b/completions;c", "write it so"),
        ("/v1/responses/?stream=true", "write it so"),
    ],
)
def test_a_path_is_no_endpoint_by_another_spelling(run: Run, tmp_path: Path, path: str, said: str) -> None:
    """Else a call would pass limits, prices and budgets by, at a provider that reads it as this daemon does not."""

    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            async with dial((client.base_url.host, client.base_url.port or 0)) as raw:
                raw.send(post(path, json.dumps(ASK).encode()))
                answer = await raw.answer()
            assert answer.status == 400
            assert said.encode() in answer.body
            assert upstream.requests == []

    run(scene())


def test_models_are_listed_with_aliases(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, sections={"routing": {"aliases": "fast: gemini-2.5-flash"}}) as (_, client):
            listed = (await client.get("/v1/models")).json()
            names = {model["id"]: model["owned_by"] for model in listed["data"]}
            assert names["gpt-4.1"] == "holysheep"
            assert names["fast"] == names["auto"] == "ai-client"
            assert (await client.get("/v1/models/gpt-4.1")).json()["id"] == "gpt-4.1"
            missing = await client.get("/v1/models/gpt-5")
            assert missing.status_code == 404
            assert "'gpt-5'" in error_of(missing)["message"]
            head = await client.head("/v1/models")
            assert (head.status_code, head.content) == (200, b"")

    run(scene())


def test_a_client_that_leaves_cancels_the_call(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.hold = True
            async with dial((client.base_url.host, client.base_url.port or 0)) as raw:
                raw.send(post("/v1/chat/completions", json.dumps(ASK).encode()))
                await until(lambda: upstream.held)
                assert (await client.get("/health/ready")).json()["in_flight"] == 1
            await until(lambda: upstream.left)
            assert (await client.get("/health/ready")).json()["in_flight"] == 0
            upstream.hold = False
            assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 200

    run(scene())


def test_a_failed_target_gives_way_to_the_fallback(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"models": {"fallback": "deepseek-v3.2"}}
        async with gateway(tmp_path, "status:503@model=gpt-4.1", sections=sections) as (_, client):
            answer = await client.post("/v1/chat/completions", json=ASK)
            assert answer.json()["model"] == "deepseek-v3.2"
            assert answer.headers["x-ai-client-target"] == "holysheep/deepseek-v3.2"
            assert answer.headers["x-ai-client-attempts"] == "2"

    run(scene())


def test_a_transient_failure_is_tried_again(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"api": {"max_retries": 3}, "routing": {"retry_base_delay": 0}}
        async with gateway(tmp_path, "reset@times=1", sections=sections) as (simulator, client):
            answer = await client.post("/v1/chat/completions", json=ASK)
            assert (answer.status_code, answer.headers["x-ai-client-attempts"]) == (200, "2")
            assert simulator.stats()["faults_injected"] == {"reset": 1}

    run(scene())


def test_auto_chooses_by_complexity(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (_, client):
            answer = await client.post("/v1/chat/completions", json={**ASK, "model": "auto"})
            named = await client.post("/v1/chat/completions", json={"model": "", "messages": HELLO})
            assert answer.json()["model"] in {"deepseek-v3.2", "gemini-2.5-flash", "claude-sonnet-4.5"}
            assert named.json()["model"] == "deepseek-v3.2"

    run(scene())


def test_metrics_count_calls(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (_, client):
            await client.post("/v1/chat/completions", json=ASK)
            await client.post("/v1/chat/completions", json={**ASK, "model": "gpt-9"})
            text = (await client.get("/metrics")).text
            assert 'model="gpt-4.1"' in text
            assert KEY not in text
            assert (await client.get("/health/live")).json()["status"] == "live"

    run(scene())


def test_metrics_that_are_off_say_so(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, sections={"monitoring": {"enable_metrics": "false"}}) as (_, client):
            answer = await client.get("/metrics")
            assert answer.status_code == 404
            assert "enable_metrics" in error_of(answer)["message"]

    run(scene())


@pytest.mark.parametrize(
    ("header", "value", "says"),
    [
        ("x-priority", "high", "x-priority is not a number"),
        ("x-priority", "11", "it runs from 1 (last) to 10 (first)"),
        ("x-ai-client-timeout", "soon", "x-ai-client-timeout is not a number"),
        ("x-ai-client-timeout", "-1", "above 0"),
        ("x-ai-client-timeout", "nan", "above 0"),
        ("x-ai-client-commit", "all", "x-ai-client-commit is 'all': it is first_content or whole"),
    ],
)
def test_a_wish_that_makes_no_sense(run: Run, tmp_path: Path, header: str, value: str, says: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (simulator, client):
            answer = await client.post("/v1/chat/completions", json=ASK, headers={header: value})
            assert answer.status_code == 400
            assert says in error_of(answer)["message"]
            assert simulator.stats()["requests"] == 0

    run(scene())


def test_a_callers_deadline_ends_the_call(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, "stall") as (_, client):
            headers = {"x-ai-client-timeout": "0.2"}
            answer = await client.post("/v1/chat/completions", json=ASK, headers=headers)
            assert answer.status_code == 504
            assert error_of(answer)["type"] == "timeout_error"

    run(scene())


def test_the_unix_socket_serves_the_same(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        path = tmp_path / "s"
        async with simulated() as simulator, serving(write_config(tmp_path, simulator.url), f"unix:{path}"):
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
                answer = await client.post("/v1/chat/completions", json=ASK)
                assert answer.json()["model"] == "gpt-4.1"
                assert path.stat().st_mode & 0o777 == 0o660
        assert not path.exists()

    run(scene())
