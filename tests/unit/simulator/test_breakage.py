"""What each fault leaves of a sound answer."""

from __future__ import annotations

import msgspec
import pytest

from ai_client.simulator.breakage import _BREAKERS, break_script
from ai_client.simulator.faults import KINDS, parse
from ai_client.simulator.script import Ending, Script

MS = 1_000_000
JSON = (b"content-type", b"application/json")
EVENTS = (b"content-type", b"text/event-stream")
BODY = b'{"whole":"answer"}'
FRAMES = [b'data: {"n":1}\n\n', b'data: {"n":2}\n\n', b'data: {"finish":"stop"}\n\n', b"data: [DONE]\n\n"]


def whole(spec: str) -> Script:
    return break_script(Script(200, [JSON], [BODY], [40 * MS]), parse(spec))


def stream(spec: str) -> Script:
    script = Script(200, [EVENTS], list(FRAMES), [40 * MS, 50 * MS, 60 * MS, 60 * MS], stream=True, finish_at=2)
    return break_script(script, parse(spec))


def wire(script: Script) -> bytes:
    assert script.raw
    return b"".join(script.frames)


def test_every_kind_has_a_breaker() -> None:
    assert set(_BREAKERS) == {kind.name for kind in KINDS}


@pytest.mark.parametrize("code", ["400", "401", "403", "404", "408", "409", "429", "500", "502", "503", "504", "529"])
def test_an_error_status_in_openais_shape(code: str) -> None:
    script = stream(f"status:{code}")
    assert (script.status, script.stream, script.due_ns) == (int(code), False, [40 * MS])
    assert script.headers == [JSON]
    error = msgspec.json.decode(script.frames[0])["error"]
    assert set(error) == {"message", "type", "param", "code"}


def test_a_status_with_retry_after() -> None:
    assert (b"retry-after", b"2") in whole("status:429@retry-after=2").headers
    assert (b"retry-after", b"0.5") in whole("status:503@retry-after=0.5").headers


def test_refusals_of_the_prompt() -> None:
    for spec, code in (("context-length", "context_length_exceeded"), ("content-filter", "content_filter")):
        script = whole(spec)
        assert script.status == 400
        assert msgspec.json.decode(script.frames[0])["error"]["code"] == code


def test_other_bodies_instead() -> None:
    assert whole("empty").frames == [b""]
    assert (whole("html").status, whole("html:200").status) == (502, 200)
    assert b"<html>" in whole("html").frames[0]
    assert whole("html").headers == [(b"content-type", b"text/html; charset=utf-8")]
    assert (b"content-encoding", b"gzip") in whole("bad-gzip").headers


def test_resets() -> None:
    assert (whole("reset").frames, whole("reset").ending) == ([], Ending.RESET)
    script = stream("reset-after-headers")
    assert wire(script).endswith(b"transfer-encoding: chunked\r\n\r\n")
    assert (script.ending, script.due_ns) == (Ending.RESET, [40 * MS])
    assert wire(whole("reset-after-headers")).endswith(b"content-length: %d\r\n\r\n" % len(BODY))


def test_a_whole_answer_cut_off() -> None:
    script = whole("cut")
    head, _, rest = wire(script).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-length: %d" % len(BODY) in head
    assert rest == BODY[: len(BODY) // 2]
    assert script.ending is Ending.RESET
    assert whole("cut:fin").ending is Ending.FIN
    assert b"content-length" not in wire(whole("cut:close"))


def test_a_stream_cut_off() -> None:
    script = stream("cut")
    assert wire(script).endswith(b"\r\n\r\n" + b"".join(b"%x\r\n%b\r\n" % (len(f), f) for f in FRAMES[:2]))
    assert (script.due_ns, script.ending) == ([40 * MS, 50 * MS], Ending.RESET)
    closed = stream("cut:close")
    assert b"connection: close\r\n\r\n" + FRAMES[0] + FRAMES[1] in wire(closed)
    assert closed.ending is Ending.FIN


@pytest.mark.parametrize(("after", "left"), [(0, 0), (1, 1), (3, 3), (99, 4)])
def test_how_much_of_a_stream_comes_before_mid_way(after: int, left: int) -> None:
    script = stream(f"cut:close@after={after}")
    assert wire(script).partition(b"\r\n\r\n")[2] == b"".join(FRAMES[:left])
    assert len(script.frames) == len(script.due_ns)


def test_missing_ends() -> None:
    assert stream("no-done").frames == FRAMES[:3]
    script = stream("no-finish")
    assert script.frames == [FRAMES[0], FRAMES[1], FRAMES[3]]
    assert (len(script.due_ns), script.ending) == (3, Ending.CLEAN)
    nothing = break_script(Script(200, [EVENTS], list(FRAMES), [0] * 4, stream=True), parse("no-finish"))
    assert nothing.frames == FRAMES


def test_an_answer_without_its_count() -> None:
    counted = b'"usage":{"prompt_tokens":1}'
    body = break_script(Script(200, [JSON], [b'{"id":"x",%b}' % counted], [0]), parse("no-usage"))
    assert body.frames == [b'{"id":"x"}']
    first, last = b'data: {"choices":[{"index":0}],"usage":null}\n\n', b'data: {"choices":[],%b}\n\n' % counted
    script = Script(200, [EVENTS], [first, last, FRAMES[3]], [1, 2, 3], stream=True, finish_at=0)
    chunks = break_script(script, parse("no-usage"))
    assert chunks.frames == [b'data: {"choices":[{"index":0}]}\n\n', FRAMES[3]]
    assert (chunks.due_ns, chunks.finish_at, chunks.ending) == ([1, 3], 0, Ending.CLEAN)
    done = b'event: response.completed\ndata: {"response":{"id":"x",%b}}\n\n' % counted
    response = break_script(Script(200, [EVENTS], [done], [0], stream=True), parse("no-usage"))
    assert response.frames == [b'event: response.completed\ndata: {"response":{"id":"x"}}\n\n']


def test_json_that_breaks_off() -> None:
    assert whole("bad-json").frames == [BODY[: len(BODY) // 2]]
    script = stream("bad-json@after=99")
    assert script.frames[:3] == FRAMES[:3]
    assert script.frames[3].endswith(b"\n\n")
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(stream("bad-json").frames[2][6:])


def test_an_error_as_an_event() -> None:
    script = stream("sse-error")
    assert script.frames[:2] == FRAMES[:2]
    assert msgspec.json.decode(script.frames[2][6:])["error"]["code"] == "server_error"
    assert script.due_ns == [40 * MS, 50 * MS, 50 * MS]
    assert stream("sse-error@after=0").due_ns == [40 * MS]


def test_wrong_lengths() -> None:
    more, fewer = whole("length"), whole("length:fewer")
    assert b"content-length: %d\r\n\r\n%b" % (len(BODY) + 100, BODY) in wire(more)
    assert b"content-length: %d\r\n\r\n%b" % (len(BODY) - 10, BODY) in wire(fewer)
    assert more.ending is Ending.FIN
    assert b"".join(FRAMES) in wire(stream("length"))


def test_stalls() -> None:
    assert (whole("stall").frames, whole("stall").ending) == ([], Ending.HANG)
    assert whole("stall@for=2").due_ns == [2_040 * MS]
    script = stream("stall-mid")
    assert (script.frames, script.ending, script.raw) == (FRAMES[:2], Ending.HANG, False)
    script = stream("stall-mid@for=2,after=1")
    assert script.frames == FRAMES
    assert script.due_ns == [40 * MS, 2_050 * MS, 2_060 * MS, 2_060 * MS]
    halves = whole("stall-mid@for=2")
    assert wire(halves).endswith(b"\r\n\r\n" + BODY)
    assert (halves.due_ns, halves.ending) == ([40 * MS, 2_040 * MS], Ending.CLEAN)
    assert whole("stall-mid").ending is Ending.HANG


def test_a_slow_drip_loses_nothing() -> None:
    script = stream("drip:5")
    assert b"".join(script.frames) == b"".join(FRAMES)
    assert all(len(frame) <= 16 for frame in script.frames)
    assert script.due_ns == [40 * MS + 5 * MS * i for i in range(len(script.frames))]
    assert wire(whole("drip")).endswith(b"content-length: %d\r\n\r\n" % len(BODY) + BODY)
    assert whole("drip").due_ns == [40 * MS, 60 * MS]
