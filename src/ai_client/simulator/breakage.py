"""What each fault does to an answer: a sound script goes in, a broken one comes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from ai_client.simulator.faults import Fault
from ai_client.simulator.script import Ending, Script
from ai_client.transport.exchange import JSON_HEADERS, error_body
from ai_client.transport.http import STATUS_LINES, Header

_MS_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
_DRIP_BYTES: Final = 16
_TOO_MANY_BYTES: Final = 100
_TOO_FEW_BYTES: Final = 10
_NOT_GZIP: Final = b"\x1f\x8b\x08\x00this is not what gzip writes"

_PAGE: Final = b"""<!DOCTYPE html>
<html><head><title>%d Bad Gateway</title></head>
<body><h1>Bad Gateway</h1><p>The proxy server received an invalid response from an upstream server.</p></body></html>
"""

_ERRORS: Mapping[int, tuple[str, str, str]] = {
    400: ("invalid_request_error", "invalid_request", "The request was refused."),
    401: ("authentication_error", "invalid_api_key", "The API key is not valid."),
    403: ("permission_error", "permission_denied", "This key may not do that."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("timeout_error", "request_timeout", "The request took too long."),
    409: ("conflict_error", "conflict", "The resource is locked."),
    429: ("rate_limit_error", "rate_limit_exceeded", "Too many requests."),
    503: ("overloaded_error", "overloaded", "The engine is overloaded."),
    529: ("overloaded_error", "overloaded", "The engine is overloaded."),
}
_OTHER_ERROR: Final = ("server_error", "server_error", "The server had an error.")


def break_script(script: Script, fault: Fault) -> Script:
    """Do to `script` what `fault` says. The script given is not used again."""
    return _BREAKERS[fault.name](script, fault)


def _status(script: Script, fault: Fault) -> Script:
    status = int(fault.argument)
    kind, code, message = _ERRORS.get(status, _OTHER_ERROR)
    headers = list(JSON_HEADERS)
    if fault.retry_after >= 0:
        headers.append((b"retry-after", f"{fault.retry_after:g}".encode()))
    return _instead(script, status, headers, error_body(f"{message} (simulated)", code, kind))


def _context_length(script: Script, _fault: Fault) -> Script:
    message = "This model's maximum context length was exceeded; shorten the prompt. (simulated)"
    body = error_body(message, "context_length_exceeded", "invalid_request_error", "messages")
    return _instead(script, 400, list(JSON_HEADERS), body)


def _content_filter(script: Script, _fault: Fault) -> Script:
    body = error_body("The prompt was refused by the content filter. (simulated)", "content_filter")
    return _instead(script, 400, list(JSON_HEADERS), body)


def _html(script: Script, fault: Fault) -> Script:
    status = int(fault.argument)
    return _instead(script, status, [(b"content-type", b"text/html; charset=utf-8")], _PAGE % status)


def _empty(script: Script, _fault: Fault) -> Script:
    return _instead(script, 200, script.headers, b"")


def _bad_gzip(script: Script, _fault: Fault) -> Script:
    return _instead(script, 200, [*script.headers, (b"content-encoding", b"gzip")], _NOT_GZIP)


def _reset(_script: Script, _fault: Fault) -> Script:
    return Script(200, [], [], [], raw=True, ending=Ending.RESET)


def _reset_after_headers(script: Script, _fault: Fault) -> Script:
    return Script(200, [], [_head(script, _framing(script))], script.due_ns[:1], raw=True, ending=Ending.RESET)


def _cut(script: Script, fault: Fault) -> Script:
    framing = (b"connection", b"close") if fault.argument == "close" else _framing(script)
    script = _in_two(script)
    mid = _middle(script, fault)
    ending = Ending.RESET if fault.argument == "reset" else Ending.FIN
    frames = [_chunk(frame) if framing[1] == b"chunked" else frame for frame in script.frames[:mid]]
    return _on_the_wire(script, framing, frames, script.due_ns[:mid], ending)


def _no_done(script: Script, _fault: Fault) -> Script:
    return _without(script, len(script.frames) - 1)


def _no_finish(script: Script, _fault: Fault) -> Script:
    return _without(script, script.finish_at) if script.finish_at >= 0 else script


def _no_usage(script: Script, _fault: Fault) -> Script:
    frames = [_uncounted(frame) for frame in script.frames]
    due = [at for frame, at in zip(frames, script.due_ns, strict=True) if frame]
    return msgspec.structs.replace(script, frames=[frame for frame in frames if frame], due_ns=due)


def _bad_json(script: Script, fault: Fault) -> Script:
    if script.stream:
        mid = min(_middle(script, fault), len(script.frames) - 1)
        frame = script.frames[mid]
        script.frames[mid] = frame[: len(frame) // 2] + b"\n\n"
    else:
        script.frames[0] = script.frames[0][: len(script.frames[0]) // 2]
    return script


def _sse_error(script: Script, fault: Fault) -> Script:
    mid = _middle(script, fault)
    error = error_body("The server had an error mid-stream. (simulated)", "server_error", "server_error")
    frames = [*script.frames[:mid], b"data: " + error + b"\n\n"]
    due = script.due_ns[:mid]
    return msgspec.structs.replace(script, frames=frames, due_ns=[*due, due[-1] if due else script.due_ns[0]])


def _length(script: Script, fault: Fault) -> Script:
    body = b"".join(script.frames)
    said = len(body) + _TOO_MANY_BYTES if fault.argument == "more" else max(len(body) - _TOO_FEW_BYTES, 0)
    return _on_the_wire(script, (b"content-length", b"%d" % said), [body], script.due_ns[-1:], Ending.FIN)


def _stall(script: Script, fault: Fault) -> Script:
    if math.isinf(fault.lasts):
        return Script(200, [], [], [], raw=True, ending=Ending.HANG)
    return _delayed(script, 0, fault.lasts)


def _stall_mid(script: Script, fault: Fault) -> Script:
    framing = _framing(script)
    script = _in_two(script)
    mid = _middle(script, fault)
    if math.isinf(fault.lasts):
        frames, due, ending = script.frames[:mid], script.due_ns[:mid], Ending.HANG
    else:
        script = _delayed(script, mid, fault.lasts)
        frames, due, ending = script.frames, script.due_ns, Ending.CLEAN
    if script.stream:
        return msgspec.structs.replace(script, frames=frames, due_ns=due, ending=ending)
    return _on_the_wire(script, framing, frames, due, ending)


def _drip(script: Script, fault: Fault) -> Script:
    gap = round(float(fault.argument) * _MS_NS)
    data = b"".join(script.frames)
    drops = [data[i : i + _DRIP_BYTES] for i in range(0, len(data), _DRIP_BYTES)]
    begin = script.due_ns[0]
    due = [begin + gap * i for i in range(len(drops))]
    if script.stream:
        return msgspec.structs.replace(script, frames=drops, due_ns=due)
    return _on_the_wire(script, _framing(script), drops, due, Ending.CLEAN)


_BREAKERS: Mapping[str, Callable[[Script, Fault], Script]] = {
    "status": _status,
    "context-length": _context_length,
    "content-filter": _content_filter,
    "reset": _reset,
    "reset-after-headers": _reset_after_headers,
    "cut": _cut,
    "no-done": _no_done,
    "no-finish": _no_finish,
    "no-usage": _no_usage,
    "bad-json": _bad_json,
    "sse-error": _sse_error,
    "length": _length,
    "empty": _empty,
    "html": _html,
    "bad-gzip": _bad_gzip,
    "stall": _stall,
    "stall-mid": _stall_mid,
    "drip": _drip,
}


def _uncounted(frame: bytes) -> bytes:
    """A body, or an event, without its count; b"" where it has nothing else."""
    begin, end = frame.find(b"{"), frame.rfind(b"}") + 1
    if begin < 0:  # the end of a stream
        return frame
    members = msgspec.json.decode(frame[begin:end], type=dict[str, Any])
    for counted in (members, members.get("response", {})):
        counted.pop("usage", None)
    return b"" if members.get("choices") == [] else frame[:begin] + msgspec.json.encode(members) + frame[end:]


def _instead(script: Script, status: int, headers: list[Header], body: bytes) -> Script:
    return Script(status, headers, [body], script.due_ns[:1])


def _without(script: Script, index: int) -> Script:
    del script.frames[index]
    del script.due_ns[index]
    return script


def _delayed(script: Script, begin: int, seconds: float) -> Script:
    wait = round(seconds * _SECOND_NS)
    due = [at + wait if index >= begin else at for index, at in enumerate(script.due_ns)]
    return msgspec.structs.replace(script, due_ns=due)


def _in_two(script: Script) -> Script:
    """A whole answer as two frames, so that there is a middle; a stream as it is."""
    if script.stream:
        return script
    body = script.frames[0]
    half = len(body) // 2
    return msgspec.structs.replace(script, frames=[body[:half], body[half:]], due_ns=script.due_ns * 2)


def _middle(script: Script, fault: Fault) -> int:
    """How many frames come before mid-way."""
    if script.stream and fault.after >= 0:
        return min(fault.after, len(script.frames))
    return max(len(script.frames) // 2, 1)


def _framing(script: Script) -> Header:
    """The header that tells the length of a sound answer's body."""
    if script.stream:
        return b"transfer-encoding", b"chunked"
    return b"content-length", b"%d" % len(script.frames[0])


def _head(script: Script, framing: Header) -> bytes:
    fields = b"".join(b"%b: %b\r\n" % header for header in (*script.headers, framing))
    return STATUS_LINES[script.status] + fields + b"\r\n"


def _chunk(frame: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def _on_the_wire(script: Script, framing: Header, frames: list[bytes], due_ns: list[int], ending: Ending) -> Script:
    """The same as raw bytes: the head goes out with the first frame."""
    frames = [_head(script, framing) + b"".join(frames[:1]), *frames[1:]]
    return Script(script.status, script.headers, frames, due_ns or script.due_ns[:1], raw=True, ending=ending)
