"""A request cannot choose where the daemon goes: only the configuration names hosts."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.gateway import ASK, error_of, recorder, recording, serving, write_config
from tests.running import Run
from tests.wire import dial, post

ELSEWHERE = "169.254.169.254"
CHAT = "/v1/chat/completions"
BODY = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"hi"}]}'


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_of_the_provider_is_not_followed(run: Run, tmp_path: Path, status: int) -> None:
    async def scene() -> None:
        async with recorder() as elsewhere, recording(tmp_path) as (upstream, client):
            upstream.status = status
            upstream.headers.append((b"location", f"{elsewhere.url}/chat/completions".encode()))
            answer = await client.post(CHAT, json=ASK)
            assert not elsewhere.requests
            assert len(upstream.requests) == 1
            assert answer.status_code in (status, 502)

    run(scene())


@pytest.mark.parametrize(
    "target",
    [
        f"http://{ELSEWHERE}/v1/chat/completions",
        f"https://{ELSEWHERE}/v1/chat/completions",
        f"//{ELSEWHERE}/v1/chat/completions",
        f"/v1//{ELSEWHERE}/latest",
        f"/v1/http://{ELSEWHERE}/latest",
        f"/v1/@{ELSEWHERE}/latest",
        f"/v1/files/a@{ELSEWHERE}:80",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%2E./admin",
        "/v1/..%2fadmin",
        "/v1/..;/admin",
        "/v1/a/..\\admin",
        "/v1/%5c..%5cadmin",
    ],
)
@pytest.mark.parametrize("host", ["test", ELSEWHERE, f"{ELSEWHERE}:80", f"test@{ELSEWHERE}"])
def test_a_target_leads_to_the_provider_or_nowhere(run: Run, tmp_path: Path, target: str, host: str) -> None:
    """The provider is asked under its own name, below its base URL, with none of the caller's fields about hosts."""

    async def scene() -> None:
        async with recorder() as upstream, serving(write_config(tmp_path, upstream.url)) as (_, url):
            fields = tuple(
                (name, ELSEWHERE.encode()) for name in (b"x-forwarded-host", b"forwarded", b"x-original-url")
            )
            request = post(target, BODY, (*fields, (b"connection", b"close")))
            address, _, port = url.removeprefix("http://").rpartition(":")
            async with dial((address, int(port))) as raw:
                raw.send(request.replace(b"host: test", f"host: {host}".encode()))
                answer = await raw.answer()
            assert answer.status in (200, 400, 403, 404, 405)
            for seen in upstream.requests:
                assert seen.header(b"host") == upstream.url.removeprefix("http://").removesuffix("/v1").encode()
                assert seen.path.startswith("/v1/")
                assert ".." not in seen.path
                assert not {name for name, _ in seen.headers} & {name for name, _ in fields}

    run(scene())


def test_a_body_names_no_host(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recorder() as elsewhere, recording(tmp_path) as (upstream, client):
            lures = dict.fromkeys(("base_url", "api_base", "url", "endpoint", "provider"), elsewhere.url)
            assert (await client.post(CHAT, json={**ASK, **lures})).status_code == 200
            assert (len(upstream.requests), len(elsewhere.requests)) == (1, 0)

    run(scene())


@pytest.mark.parametrize("name", ["x-priority", "x-ai-client-tag", "x-request-id", "openai-beta", "content-type"])
@pytest.mark.parametrize("value", ["a\r\nx-smuggled: 1", "a\nx-smuggled: 1", "a\rx-smuggled: 1", "a\0b"])
def test_a_value_cannot_end_its_line(run: Run, tmp_path: Path, name: str, value: str) -> None:
    """A line end that is one makes a field of its own, which goes nowhere; one that is none is refused."""

    async def scene() -> None:
        async with recorder() as upstream, serving(write_config(tmp_path, upstream.url)) as (_, url):
            address, _, port = url.removeprefix("http://").rpartition(":")
            async with dial((address, int(port))) as raw:
                raw.send(post(CHAT, BODY, ((name.encode(), value.encode()), (b"connection", b"close"))))
                answer = await raw.answer()
            assert "x-smuggled" not in answer.headers
            assert all(seen.header(b"x-smuggled") is None for seen in upstream.requests)

    run(scene())


def test_a_models_name_cannot_end_a_line_of_the_answer(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        sections = {"api": {"models": "*"}, "models": {"default": "gpt-4.1"}}
        async with recording(tmp_path, sections) as (_, client):
            answer: httpx.Response = await client.post(CHAT, json={**ASK, "model": "a\r\nx-smuggled: 1"})
            assert "x-smuggled" not in answer.headers

    run(scene())


@pytest.mark.parametrize("path", [CHAT, "/v1/files", "/v1/models", "/metrics", "/health/ready"])
def test_a_web_page_is_not_served(run: Run, tmp_path: Path, path: str) -> None:
    """Neither one that posts here from its own site, nor one whose site's name has been made to lead here."""

    async def scene() -> None:
        async with recording(tmp_path) as (upstream, client):
            for header in ({"origin": "https://evil.example"}, {"host": "evil.example:8089"}, {"origin": "null"}):
                answer = await client.request("POST" if path == CHAT else "GET", path, headers=header, content=BODY)
                assert (answer.status_code, error_of(answer)["code"]) == (403, "permission_denied")
            assert not upstream.requests
            assert (await client.post(CHAT, headers={"origin": "http://localhost:3000"}, json=ASK)).status_code == 200

    run(scene())


def test_a_name_that_is_configured_is_this_nodes(run: Run, tmp_path: Path) -> None:
    async def scene() -> None:
        async with recording(tmp_path, {"daemon": {"hosts": "AI.example"}}) as (_, client):
            assert (await client.post(CHAT, headers={"host": "ai.example:8089"}, json=ASK)).status_code == 200

    run(scene())
