"""Streams through the daemon: events byte for byte, and the truth about how they end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ai_client.transport.exchange import Exchange, Request
from ai_client.transport.sse import DONE, EventParser
from tests.gateway import HELLO, KEY, error_of, gateway, recording, serving, write_config
from tests.running import Run
from tests.wire import RawClient, Serving, dial, get, post, turns, until

STREAM: Any = {"model": "gpt-4.1", "messages": HELLO, "max_tokens": 30, "stream": True}
SSE = (b"content-type", b"text/event-stream; charset=utf-8")


def chunk(text: str = "", **more: Any) -> bytes:
    """One event of a chat stream, spaced as no encoder of ours would."""
    choice = {"index": 0, "delta": {"content": text} if text else {}, **more}
    return f"data:  {json.dumps({'id': 'x', 'model': 'gpt-4.1', 'choices': [choice]}, indent=None)}\r\n\r\n".encode()


WHOLE = [b": hello\n\n", chunk("\u00e9a"), chunk("b"), chunk(finish_reason="stop"), b"data: [DONE]\n\n"]


def data_of(body: bytes) -> list[bytes]:
    """The data of every event."""
    return [event.data for event in EventParser().feed(body) if event.data]


async def chunks_of(raw: RawClient) -> bytes:
    """The rest of a chunked body, whether it ends as it should or not."""
    body = b""
    try:
        while piece := await raw.chunk():
            body += piece
    except (EOFError, ValueError):
        return body + b"<cut>"
    return body


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", STREAM),
        ("/completions", {"model": "gpt-4.1", "prompt": "a", "max_tokens": 30, "stream": True}),
        ("/responses", {"model": "gpt-4.1", "input": "a", "max_output_tokens": 30, "stream": True}),
    ],
)
def test_what_streams_at_the_provider_streams_here(run: Run, tmp_path: Path, path: str, body: Any) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (simulator, client):
            async with client.stream("POST", f"/v1{path}", json=body) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                assert answer.headers["x-ai-client-target"] == "holysheep/gpt-4.1"
                got = await answer.aread()
            direct = await client.post(simulator.url + path, json=body, headers={"authorization": f"Bearer {KEY}"})
            if path == "/responses":
                assert msgspec.json.decode(data_of(got)[-1])["type"] == "response.incomplete"  # max_output_tokens
            else:
                assert data_of(got)[-1] == DONE
                # the usage that we asked for, and the caller did not, is not shown to it
                assert not any(b'"usage":{' in data for data in data_of(got))
            assert len(data_of(got)) == len(data_of(direct.content))

    run(scene())


def test_a_caller_that_asks_for_usage_gets_it(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path) as (_, client):
            body = {**STREAM, "stream_options": {"include_usage": True}}
            events = data_of((await client.post("/v1/chat/completions", json=body)).content)
            assert json.loads(events[-2])["usage"]["completion_tokens"] == 30

    run(scene())


ASKED: Any = {**STREAM, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("commit", ["first_content", "whole"])
@pytest.mark.parametrize(
    ("path", "body"),
    [("/chat/completions", ASKED), ("/completions", {**ASKED, "prompt": "Say hello.", "messages": None})],
)
def test_a_caller_that_asks_for_usage_gets_an_estimate_where_there_is_none(
    run: Run, tmp_path: Path, path: str, body: Any, commit: str
) -> None:
    """It is what the ledger has, and says that it is one."""

    async def scene() -> None:
        sections = {"caching": {"enabled": "true", "persistent": "no"}, "streams": {"commit": commit}}
        async with gateway(tmp_path, "no-usage", sections=sections) as (_, client):
            answer = await client.post(f"/v1{path}", json=body)
            *_, finish, last, end = data_of(answer.content)
            assert (end, answer.headers.get("x-ai-client-commit", "first_content")) == (DONE, commit)
            finishing, told = json.loads(finish), json.loads(last)
            assert (told["choices"], told["usage"]["estimated"]) == ([], True)
            assert {told[name] == finishing[name] for name in ("id", "object", "created", "model")} == {True}
            metrics = (await client.get("/metrics")).text
            counted = re.findall(r'ai_client_tokens_total{.*kind="(\w+)".*} (\d+)', metrics)
            spent = {kind: int(tokens) for kind, tokens in counted}
            assert spent["input"] == told["usage"]["prompt_tokens"] == 3
            assert spent["output"] == told["usage"]["completion_tokens"] > 0
            assert (await client.post(f"/v1{path}", json=body)).content == answer.content, "from the cache, too"

    run(scene())


@pytest.mark.parametrize("ask", ["true", "false"])
def test_a_caller_that_asks_for_no_usage_gets_no_estimate(run: Run, tmp_path: Path, ask: str) -> None:
    async def scene() -> None:
        async with recording(tmp_path, {"api": {"stream_usage": ask}}) as (upstream, client):
            upstream.headers, upstream.pieces = [SSE], WHOLE
            assert (await client.post("/v1/chat/completions", json=STREAM)).content == b"".join(WHOLE)
            assert (b"include_usage" in upstream.requests[0].body) is (ask == "true")
            told = (await client.post("/v1/chat/completions", json=ASKED)).content
            assert told.startswith(b"".join(WHOLE[:-1]))
            assert json.loads(data_of(told)[-2])["usage"]["estimated"] is True

    run(scene())


def test_events_travel_byte_for_byte(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.headers, upstream.pieces = [SSE], WHOLE
            answer = await client.post("/v1/chat/completions", json=STREAM)
            assert answer.content == b"".join(WHOLE)
            assert answer.headers["content-type"] == SSE[1].decode()

    run(scene())


def test_a_cached_stream_is_replayed_byte_for_byte(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"caching": {"enabled": "true", "persistent": "no"}}
        async with recording(tmp_path, sections) as (upstream, client):
            upstream.headers, upstream.pieces = [SSE], WHOLE
            first = await client.post("/v1/chat/completions", json=STREAM)
            second = await client.post("/v1/chat/completions", json=STREAM)
            assert (first.headers["x-ai-client-cache"], second.headers["x-ai-client-cache"]) == ("miss", "hit")
            assert second.content == first.content == b"".join(WHOLE)
            assert len(upstream.requests) == 1

    run(scene())


@pytest.mark.parametrize(
    "fault", ["cut:reset", "cut:fin", "cut:close", "no-done", "no-finish", "bad-json", "sse-error"]
)
def test_a_stream_that_breaks_says_so_and_does_not_end_cleanly(run: Run, tmp_path: Path, fault: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, f"{fault}@after=4", token_ms=1, latency_ms=0) as (_, client):
            async with dial((client.base_url.host, client.base_url.port or 0)) as raw:
                raw.send(post("/v1/chat/completions", json.dumps(STREAM).encode()))
                assert (await raw.head()).status == 200
                body = await chunks_of(raw)
            assert body.endswith(b"<cut>"), body[-300:]
            *kept, error = data_of(body.removesuffix(b"<cut>"))
            assert kept
            assert DONE not in kept
            said = json.loads(error)["error"]
            assert said["type"] == "upstream_error"
            assert said["message"]

    run(scene())


def test_a_stream_that_breaks_before_its_first_content_is_tried_elsewhere(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"models": {"fallback": "deepseek-v3.2"}}
        async with gateway(tmp_path, "cut:reset@after=1,model=gpt-4.1", sections=sections) as (_, client):
            answer = await client.post("/v1/chat/completions", json=STREAM)
            assert answer.status_code == 200
            assert data_of(answer.content)[-1] == DONE
            assert answer.headers["x-ai-client-target"] == "holysheep/deepseek-v3.2"

    run(scene())


APP = {"token_sha256": hashlib.sha256(b"token").hexdigest(), "commit": "whole"}


@pytest.mark.parametrize(
    ("sections", "header"),
    [
        ({}, "whole"),
        ({"streams": {"commit": "whole"}}, ""),
        ({"streams": {"whole_models": "gpt-4.1, deepseek-v3.2"}}, ""),
        ({"app careful": APP}, ""),
        ({"app careful": APP, "streams": {"commit": "first_content"}}, ""),
    ],
)
def test_a_held_stream_that_breaks_begins_again_elsewhere_unseen(
    run: Run, tmp_path: Path, sections: Any, header: str
) -> None:
    async def scene() -> None:
        spare = {"models": {"fallback": "deepseek-v3.2"}}
        fault = "cut:reset@model=gpt-4.1,after=5"
        async with gateway(tmp_path, fault, sections={**spare, **sections}) as (simulator, client):
            headers = {"authorization": "Bearer token", **({"x-ai-client-commit": header} if header else {})}
            answer = await client.post("/v1/chat/completions", json=STREAM, headers=headers)
            assert answer.headers["x-ai-client-commit"] == "whole"
            assert answer.headers["x-ai-client-target"] == "holysheep/deepseek-v3.2"
            data = data_of(answer.content)
            assert data[-1] == DONE
            chunks = [json.loads(each) for each in data[:-1]]
            assert {each["model"] for each in chunks} == {"deepseek-v3.2"}, "nothing is left of the first"
            assert simulator.stats()["requests"] == 2

    run(scene())


CONTINUED: Any = {"models": {"fallback": "deepseek-v3.2"}, "streams": {"continue_models": "deepseek-v3.2"}}


def test_a_stream_that_breaks_is_taken_up_by_another_model(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        fault = "cut:reset@model=gpt-4.1,after=5"
        async with gateway(tmp_path, fault, sections=CONTINUED, prefill="continue", token_ms=1) as (simulator, client):
            asked = {**STREAM, "stream_options": {"include_usage": True}}
            answer = await client.post("/v1/chat/completions", json=asked)
            assert answer.headers["x-ai-client-target"] == "holysheep/gpt-4.1", "the headers left before the break"
            data = data_of(answer.content)
            assert data[-1] == DONE
            chunks = [json.loads(each) for each in data[:-1]]
            assert [each["model"] for each in chunks] == ["gpt-4.1"] * 5 + ["deepseek-v3.2"] * (len(chunks) - 5)
            assert len({each["id"] for each in chunks}) == 1
            reasons = [each["choices"][0]["finish_reason"] for each in chunks if each["choices"]]
            assert [reason for reason in reasons if reason] == ["length"]
            usage = chunks[-1]["usage"]
            assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
            told = simulator.stats()["models"]["deepseek-v3.2"]
            assert usage["completion_tokens"] > told["completion_tokens"] > 0, "what came before the break counts, too"
        line = json.loads((tmp_path / "logs" / "calls.log").read_text().splitlines()[-1])
        assert (line["status"], line["attempts"], line["target"]) == (200, 2, "holysheep/deepseek-v3.2")

    run(scene())


@pytest.mark.parametrize("more", [{}, {"tools": [{"type": "function", "function": {"name": "f"}}]}, {"logprobs": True}])
def test_when_nobody_takes_it_up_the_break_itself_is_told(run: Run, tmp_path: Path, more: Any) -> None:
    async def scene() -> None:
        fault = "cut:reset@model=gpt-4.1,after=5"
        async with gateway(tmp_path, fault, sections=CONTINUED, prefill="refuse", token_ms=1) as (simulator, client):
            async with dial((client.base_url.host, client.base_url.port or 0)) as raw:
                raw.send(post("/v1/chat/completions", json.dumps({**STREAM, **more}).encode()))
                assert (await raw.head()).status == 200
                body = await chunks_of(raw)
            assert body.endswith(b"<cut>")
            said = json.loads(data_of(body.removesuffix(b"<cut>"))[-1])["error"]
            assert (said["code"], "broke the connection" in said["message"]) == ("broken_reply", True)
            assert simulator.stats()["requests"] == (1 if more else 2)

    run(scene())


@pytest.mark.parametrize(
    ("sections", "header"),
    [
        ({}, ""),
        ({"streams": {"commit": "whole", "whole_models": "gpt-4.1"}}, "first_content"),
        ({"streams": {"whole_models": "deepseek-v3.2"}}, ""),
        ({"app hasty": {**APP, "commit": "first_content"}, "streams": {"commit": "whole"}}, ""),
    ],
)
def test_a_stream_that_is_not_held_comes_as_it_comes(run: Run, tmp_path: Path, sections: Any, header: str) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, "cut:reset@after=5", sections=sections) as (_, client):
            headers = {"authorization": "Bearer token", **({"x-ai-client-commit": header} if header else {})}
            async with client.stream("POST", "/v1/chat/completions", json=STREAM, headers=headers) as answer:
                assert answer.status_code == 200
                assert "x-ai-client-commit" not in answer.headers
                with pytest.raises(httpx.RemoteProtocolError):
                    await answer.aread()

    run(scene())


def test_a_stream_longer_than_may_be_held_goes_out_and_does_not_say_that_it_is_whole(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        long = chunk("a" * 1024 * 1024)
        async with recording(tmp_path, {"streams": {"hold_mb": 1}}) as (upstream, client):
            upstream.headers = [SSE]
            for pieces, said in ((WHOLE, "whole"), ([WHOLE[1], long, long, *WHOLE[2:]], None)):
                upstream.pieces = pieces
                answer = await client.post("/v1/chat/completions", json=STREAM, headers={"x-ai-client-commit": "whole"})
                assert answer.content == b"".join(pieces)
                assert answer.headers.get("x-ai-client-commit") == said

    run(scene())


def test_a_whole_answer_to_a_request_for_a_stream_is_an_error(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (_, client):
            answer = await client.post("/v1/chat/completions", json=STREAM)
            assert answer.status_code == 502
            assert "request for a stream with a whole answer" in error_of(answer)["message"]

    run(scene())


def test_an_error_before_the_stream_is_a_plain_error(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with gateway(tmp_path, "status:429@retry-after=7") as (_, client):
            answer = await client.post("/v1/chat/completions", json=STREAM)
            assert answer.status_code == 429
            assert answer.headers["retry-after"] == "7"
            assert answer.json()["error"]["code"] == "rate_limit_exceeded"

    run(scene())


def test_a_client_that_leaves_ends_the_stream_at_the_provider(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.headers, upstream.pieces, upstream.hold = [SSE], WHOLE[:2], True
            async with client.stream("POST", "/v1/chat/completions", json=STREAM) as answer:
                async for piece in answer.aiter_bytes():
                    assert piece == b"".join(WHOLE[:2])
                    break
                assert (await client.get("/health/ready")).json()["in_flight"] == 1
            await until(lambda: upstream.left)
            while (await client.get("/health/ready")).json()["in_flight"]:
                pass
            text = (await client.get("/metrics")).text
            assert 'status="499"' in text

    run(scene())


def test_many_streams_at_once_do_not_mix(run: Run, tmp_path: Path) -> None:
    async def echo(request: Request, exchange: Exchange) -> None:
        """Streams the caller's own word back, letting all the others have their turn in between."""
        word = json.loads(request.body)["messages"][0]["content"]
        exchange.start(200, [SSE])
        for _ in range(20):
            exchange.write(chunk(word))
            await turns(3)
        exchange.write(b"".join(WHOLE[3:]))
        exchange.end()

    async def scene() -> None:
        async with Serving(echo) as upstream:
            config = write_config(tmp_path, upstream.url + "/v1")
            async with serving(config) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:

                async def one(word: str) -> str:
                    body = {**STREAM, "messages": [{"role": "user", "content": word}]}
                    return text_of(await client.post("/v1/chat/completions", json=body))

                words = [f"<{number}>" for number in range(40)]
                assert await asyncio.gather(*map(one, words)) == [word * 20 for word in words]

    run(scene())


def test_a_slow_reader_slows_the_provider_down_and_gets_it_all(run: Run, tmp_path: Path) -> None:
    pieces, size = 200, 256 * 1024
    written: list[int] = []

    async def pour(request: Request, exchange: Exchange) -> None:
        exchange.start(200, [(b"content-type", b"application/octet-stream")])
        for number in range(pieces):
            exchange.write(b"%d" % (number % 10) * size)
            written.append(number)
            if exchange.backed_up:
                await exchange.drain()
        exchange.end()

    async def scene() -> None:
        async with Serving(pour) as upstream:
            config = write_config(tmp_path, upstream.url + "/v1")
            async with serving(config) as (_, url):
                host, _, port = url.removeprefix("http://").rpartition(":")
                async with dial((host, int(port)), limit=size) as raw:
                    raw.send(get("/v1/files/big/content"))
                    await until(lambda: written)
                    still = 0
                    while still < 1_000:  # turns of the loop in which nothing more could be written
                        before = len(written)
                        await turns(1)
                        still = still + 1 if len(written) == before else 0
                    assert len(written) < pieces // 2
                    answer = await raw.answer()
                assert len(answer.body) == pieces * size
                assert answer.body[::size] == b"0123456789" * (pieces // 10)

    run(scene())


def test_a_passed_through_file_streams(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            upstream.headers = [(b"content-type", b"audio/mpeg")]
            upstream.pieces = [b"ID3\x00" * 1_000, b"\xff\xfb" * 100_000, b"end"]
            answer = await client.post("/v1/audio/speech", json={"model": "gpt-4.1", "input": "a"})
            assert answer.headers["content-type"] == "audio/mpeg"
            assert answer.content == b"".join(upstream.pieces)

    run(scene())


def text_of(answer: httpx.Response) -> str:
    """The text of a chat stream."""
    chunks = [json.loads(data) for data in data_of(answer.content) if data != DONE]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
