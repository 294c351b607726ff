"""One try at a provider that talks over a real connection."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from ai_client.answers import TOLD
from ai_client.clock import SystemClock
from ai_client.errors import (
    AuthenticationError,
    BrokenReplyError,
    ConnectError,
    OverloadedError,
    UpstreamStatusError,
    UpstreamTimeoutError,
)
from ai_client.model.call import Call, Target
from ai_client.model.reply import Reply
from ai_client.model.request import Endpoint, Fields
from ai_client.model.usage import Usage
from ai_client.pipeline.send import Send
from ai_client.providers.commit import AS_IT_COMES
from ai_client.providers.openai.provider import OpenAIProvider, Patience
from ai_client.providers.openai.wire import Wire
from ai_client.testing import FakeClock
from ai_client.transport.incoming import Incoming
from ai_client.transport.pool import Origin, Pool, PoolSettings
from ai_client.transport.timer import Timeouts
from tests.calls import TARGET, make_attempt, make_call, make_record, streaming
from tests.running import Run
from tests.unit.pipeline.stages import read, stream_of
from tests.unit.providers.openai.feed import DONE, ROLE, STOP, USAGE, chunk, event
from tests.wire import RawClient, Upstream, always, answer_with, read_request, until

KEY = "hs_" + "1" * 20
WHOLE = b'{"model":"m-1","choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":2}}'
COUNTED = Usage(9, 2)
EVENTS = ROLE + chunk("hello") + STOP + USAGE + DONE

Scenario = Callable[[OpenAIProvider], Awaitable[None]]


def json(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "content-type: application/json", f"content-length: {len(body)}", *headers]
    return answer_with("\n".join(lines), body)


def piped(body: bytes, kind: str = "text/event-stream", *headers: str, status: str = "200 OK") -> bytes:
    """An answer in chunks."""
    head = answer_with(
        "\n".join([f"HTTP/1.1 {status}", f"content-type: {kind}", "transfer-encoding: chunked", *headers])
    )
    return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


@pytest.fixture
def at(run: Run) -> Callable[..., None]:
    """Runs a scenario with a provider that gives every request the same answer."""

    def runner(answer: bytes, scenario: Scenario, patience: Patience | None = None) -> None:
        async def main() -> None:
            async with Upstream(always(answer)) as upstream:
                pool = upstream.pool()
                wire = Wire(Origin.parse(upstream.url + "/v1"), KEY, "ua", stream_usage=True)
                provider = OpenAIProvider("p", pool, wire, patience or Patience(), SystemClock(), KEY)
                try:
                    await scenario(provider)
                finally:
                    provider.close()

        run(main())

    return runner


def now(call: Call | None = None, seconds: float = 60.0, **fields: Any) -> Call:
    """A call that begins now."""
    begun = SystemClock().monotonic_ns()
    call = call or make_call(record=make_record(), **fields)
    return Call(
        call.endpoint,
        call.method,
        call.path,
        call.body,
        call.fields,
        call.headers,
        begun + int(seconds * 1e9),
        call.priority,
        call.app,
        make_record(started_ns=begun),
    )


def other(path: str = "/files", method: str = "GET", body: bytes = b"") -> Call:
    return now(endpoint=Endpoint.OTHER, path=path, method=method, body=body, fields=Fields(""))


async def send(provider: OpenAIProvider, call: Call) -> Reply:
    target = Target("p", "", "") if call.endpoint is Endpoint.OTHER else TARGET
    return await provider.send(make_attempt(call, target))


def test_a_whole_answer(at: Callable[..., None]) -> None:
    headers = [
        "x-request-id: up1",
        "server: secret",
        "set-cookie: a=b",
        "x-ratelimit-remaining: 5",
        "connection: keep-alive",
    ]

    async def scenario(provider: OpenAIProvider) -> None:
        call = now()
        answer = await send(provider, call)
        assert (answer.status, answer.body, answer.stream, answer.usage) == (200, WHOLE, None, COUNTED)
        assert answer.headers == [
            (b"content-type", b"application/json"),
            (b"x-upstream-request-id", b"up1"),
            (b"x-ratelimit-remaining", b"5"),
        ]
        assert call.record.model == "m"
        assert call.record.first_byte_ns > 0
        assert (provider.name, provider.open_connections) == ("p", 1)

    at(json(WHOLE, "200 OK", *headers), scenario)


def test_our_own_headers_are_not_the_providers_to_say(run: Run) -> None:
    spoofed = [f"{name.decode()}: 1" for name in sorted(TOLD)]
    packed = json(WHOLE, "200 OK", "x-ratelimit-remaining: 5", *spoofed)

    async def scenario() -> None:
        async with Upstream(always(packed)) as upstream:
            wire = Wire(Origin.parse(upstream.url + "/v1"), KEY, "ua", stream_usage=True)
            for hidden, seen in ((TOLD, 0), (frozenset[bytes](), len(TOLD))):
                provider = OpenAIProvider(
                    "p", upstream.pool(), wire, Patience(), SystemClock(), KEY, AS_IT_COMES, hidden
                )
                for call in (now(), other()):
                    names = {name for name, _ in (await send(provider, call)).headers}
                    assert (len(names & TOLD), names - TOLD) == (seen, {b"content-type", b"x-ratelimit-remaining"})
                provider.close()

    run(scenario())


def test_what_the_provider_gets(run: Run) -> None:
    seen: list[tuple[str, bytes]] = []

    async def talk(client: RawClient) -> None:
        seen.append(await read_request(client))
        client.send(json(WHOLE))

    async def main() -> None:
        async with Upstream(talk) as upstream:
            wire = Wire(Origin.parse(upstream.url + "/v1"), KEY, "ua", stream_usage=True)
            provider = OpenAIProvider("p", upstream.pool(), wire, Patience(), SystemClock(), KEY)
            call = now()
            await send(provider, call)
            provider.close()
            assert seen == [("POST /v1/chat/completions HTTP/1.1", call.body)]

    run(main())


@pytest.mark.parametrize("packing", ["gzip", "GZIP", "deflate", "identity"])
@pytest.mark.parametrize("status", ["200 OK", "418 No"])
def test_a_packed_answer_is_unpacked(at: Callable[..., None], packing: str, status: str) -> None:
    body = WHOLE if status.startswith("200") else b'{"error":{"message":"packed"}}'
    pack: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress, "identity": bytes}
    packed = pack[packing.lower()](body)

    async def scenario(provider: OpenAIProvider) -> None:
        if status.startswith("200"):
            answer = await send(provider, now())
            assert (answer.body, answer.usage) == (WHOLE, COUNTED)
            assert answer.headers == [(b"content-type", b"application/json")]
        else:
            with pytest.raises(UpstreamStatusError, match="p answered 418: packed"):
                await send(provider, now())

    at(json(packed, status, f"content-encoding: {packing}"), scenario)


@pytest.mark.parametrize(
    ("packing", "body", "said"),
    [
        ("gzip", b"not packed at all", "broken"),
        ("gzip", gzip.compress(WHOLE, mtime=0)[:-12], "cut off"),
        ("gzip", gzip.compress(WHOLE, mtime=0)[:20], "cut off"),
        ("gzip", gzip.compress(WHOLE, mtime=0)[:-8] + b"\0" * 8, "broken"),
        ("gzip", b"", "cut off"),
        ("br", WHOLE, "which nobody asked for"),
    ],
)
def test_a_packed_answer_that_cannot_be_unpacked(at: Callable[..., None], packing: str, body: bytes, said: str) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(BrokenReplyError, match=said):
            await send(provider, now())

    at(json(body, "200 OK", f"content-encoding: {packing}"), scenario)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (json(b""), "empty body"),
        (json(b"{"), "not the JSON"),
        (piped(b"<html>hello</html>", "text/html"), "answered 200 with text/html where JSON was due"),
        (
            answer_with("HTTP/1.1 200 OK\ncontent-length: 2", b"{}"),
            "answered 200 with no content type where JSON was due",
        ),
        (json(b'{"error":{"message":"on strike"}}'), "an error where an answer was due: on strike"),
        (piped(EVENTS), "with a stream where a whole answer was due"),
    ],
)
def test_what_is_no_answer(at: Callable[..., None], answer: bytes, said: str) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(BrokenReplyError, match=said):
            await send(provider, now())

    at(answer, scenario)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (piped(EVENTS, "text/event-stream", "content-encoding: gzip"), "compressed a stream"),
        (piped(ROLE + DONE), "without a finish_reason"),
        (piped(b""), "without saying that it was complete"),
    ],
)
def test_what_is_no_stream(at: Callable[..., None], answer: bytes, said: str) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(BrokenReplyError, match=said):
            await send(provider, now(streaming()))

    at(answer, scenario)


def test_a_whole_answer_where_a_stream_was_asked_for(at: Callable[..., None]) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(BrokenReplyError, match="a request for a stream with a whole answer"):
            await send(provider, now(streaming()))

    at(json(WHOLE), scenario)


def test_a_stream(at: Callable[..., None]) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        call = now(streaming())
        answer = await send(provider, call)
        assert answer.headers == [(b"content-type", b"text/event-stream; charset=utf-8")]
        assert (call.record.model, call.record.first_byte_ns > 0) == ("m", True)
        assert await read(answer) == ROLE + chunk("hello") + STOP + DONE

    at(piped(EVENTS, "text/event-stream; charset=utf-8"), scenario)


def test_a_streamed_response(at: Callable[..., None]) -> None:
    events = event({"type": "response.output_text.delta", "delta": "x"}) + event(
        {"type": "response.completed", "response": {"model": "m-1", "usage": {"input_tokens": 9, "output_tokens": 2}}}
    )

    async def scenario(provider: OpenAIProvider) -> None:
        call = now(endpoint=Endpoint.RESPONSES, path=Endpoint.RESPONSES, fields=Fields("m", stream=True))
        answer = await send(provider, call)
        usages: list[Usage] = []
        stream_of(answer).on_end(lambda end: usages.append(end.usage))
        assert await read(answer) == events
        assert usages == [COUNTED]

    at(piped(events), scenario)


@pytest.mark.parametrize(
    "answer",
    [
        json(b'{"error":{"message":"bad key"}}', "401 Unauthorized"),
        piped(b'{"error":{"message":"bad key"}}', "text/plain", status="401 Unauthorized"),
    ],
)
def test_a_refusal(at: Callable[..., None], answer: bytes) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(AuthenticationError, match="p answered 401: bad key"):
            await send(provider, now())

    at(answer, scenario)


def test_a_refusal_says_when_to_come_back_and_keeps_the_key_to_itself(at: Callable[..., None]) -> None:
    body = b'{"error":{"message":"%b is busy"}}' % KEY.encode()

    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(UpstreamStatusError) as caught:
            await send(provider, now())
        assert caught.value.message == "p answered 429: *** is busy"
        assert KEY.encode() not in caught.value.body
        assert caught.value.retry_after == 0.25

    at(json(body, "429 Slow", "retry-after: 7", "retry-after-ms: 250"), scenario)


def test_an_endless_refusal_is_given_up(at: Callable[..., None]) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(BrokenReplyError, match="larger than"):
            await send(provider, now())

    at(piped(b"x" * (1024 * 1024 + 1), "text/plain", status="500 No"), scenario)


def test_a_redirect_is_no_answer(at: Callable[..., None]) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(UpstreamStatusError, match="p answered 307"):
            await send(provider, now())

    at(answer_with("HTTP/1.1 307 There\nlocation: http://elsewhere.test/\ncontent-length: 0"), scenario)


# ---- passed through


@pytest.mark.parametrize(("body", "usage"), [(WHOLE, COUNTED), (b"[1]", Usage()), (b"", Usage()), (b"{", Usage())])
def test_json_that_is_passed_through(at: Callable[..., None], body: bytes, usage: Usage) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        answer = await send(provider, other())
        assert (answer.body, answer.usage, answer.stream) == (body, usage, None)

    at(json(body), scenario)


def test_what_is_passed_through_keeps_its_packing(at: Callable[..., None]) -> None:
    packed = gzip.compress(WHOLE, mtime=0)

    async def scenario(provider: OpenAIProvider) -> None:
        answer = await send(provider, other())
        assert (answer.body, answer.usage) == (packed, Usage())
        assert (b"content-encoding", b"gzip") in answer.headers

    at(json(packed, "200 OK", "content-encoding: gzip"), scenario)


def test_a_file_that_is_passed_through(at: Callable[..., None]) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        answer = await send(provider, other("/files/1/content"))
        assert answer.headers == [(b"content-type", b"audio/mpeg")]
        assert await read(answer) == b"\0\xff" * 1000

    at(piped(b"\0\xff" * 1000, "audio/mpeg"), scenario)


# ---- time


def silent(seconds: float, patience: Patience, phase: str, make: Callable[..., Call] = make_call) -> Scenario:
    async def scenario(provider: OpenAIProvider) -> None:
        with pytest.raises(UpstreamTimeoutError) as caught:
            await send(provider, now(make(), seconds=seconds))
        assert caught.value.phase == phase

    return scenario


def test_a_provider_that_is_silent_too_long(at: Callable[..., None]) -> None:
    at(b"", silent(60.0, Patience(answer=0.02), "first_byte"), Patience(answer=0.02))


@pytest.mark.parametrize("early", [b"", b": ping\n\n", ROLE, ROLE + b": ping\n\n"])
def test_a_stream_without_content_for_too_long(at: Callable[..., None], early: bytes) -> None:
    patience = Patience(first_token=0.03)
    at(piped(early or b":\n\n").removesuffix(b"0\r\n\r\n"), silent(60.0, patience, "first_token", streaming), patience)


def test_the_first_tokens_time_is_for_streams_that_are_read_here(at: Callable[..., None]) -> None:
    patience = Patience(answer=0.03, idle=0.03, first_token=0.01)

    async def scenario(provider: OpenAIProvider) -> None:
        unread = now(endpoint=Endpoint.OTHER, path="/x", body=b'{"stream":true}', fields=Fields("", stream=True))
        for call in (now(), unread):
            with pytest.raises(UpstreamTimeoutError) as caught:
                await send(provider, call)
            assert caught.value.phase == "first_byte"

    at(b"", scenario, patience)


@pytest.mark.parametrize(
    ("left", "total"), [(60.0, 55.0), (10.0, 5.0), (9.0, 4.5), (1.0, 0.5), (0.001, 0.001), (0.0, 0.001), (-5.0, 0.001)]
)
def test_a_try_ends_before_the_caller_s_time_does(run: Run, left: float, total: float) -> None:
    """The buffer is kept for the telling of a failure; half of what is left, where that is less."""

    class Noting(Pool):
        async def request(self, wire: bytes, timeouts: Timeouts) -> Incoming:
            assert timeouts == Timeouts(30.0, 60.0, total)
            raise ConnectError("as far as this test goes")

    clock = FakeClock(monotonic_ns=10**12)
    origin = Origin.parse("http://127.0.0.1:1/v1")
    provider = OpenAIProvider(
        "p", Noting(origin, PoolSettings()), Wire(origin, KEY, "ua", stream_usage=True), Patience(), clock, KEY
    )
    with pytest.raises(ConnectError, match="as far"):
        run(send(provider, make_call(deadline_ns=clock.monotonic_ns() + round(left * 1e9))))


@pytest.mark.parametrize(
    ("error", "attempts"), [(OverloadedError("all are in use"), 0), (ConnectError("nobody is there"), 1)]
)
def test_what_got_no_connection_of_ours_never_went_out(run: Run, error: Exception, attempts: int) -> None:
    class Full(Pool):
        async def request(self, wire: bytes, timeouts: Timeouts) -> Incoming:
            raise error

    origin = Origin.parse("http://127.0.0.1:1/v1")
    wire = Wire(origin, KEY, "ua", stream_usage=True)
    provider = OpenAIProvider("p", Full(origin, PoolSettings()), wire, Patience(), FakeClock(), KEY)

    async def scenario() -> None:
        attempt = make_attempt()
        with pytest.raises(type(error)):
            await Send({"p": provider})(attempt)
        assert attempt.call.record.attempts == attempts

    run(scenario())


@pytest.mark.parametrize("end", ["close", "retire"])
def test_a_closed_provider_sends_nothing(at: Callable[..., None], end: str) -> None:
    async def scenario(provider: OpenAIProvider) -> None:
        await send(provider, now())
        getattr(provider, end)()
        if end == "close":
            with pytest.raises(ConnectError):
                await send(provider, now())
        await until(lambda: not provider.open_connections)

    at(json(WHOLE), scenario)
