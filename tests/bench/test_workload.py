"""The bytes that everybody is measured with."""

from __future__ import annotations

import json

from bench import workload


def test_request_and_reply_have_the_sizes_that_are_quoted() -> None:
    request, reply = workload.request_body(), workload.reply_body()
    assert (len(request), len(reply)) == (workload.REQUEST_BYTES, workload.REPLY_BYTES) == (230, 450)
    assert json.loads(request)["model"] == json.loads(reply)["model"] == workload.MODEL
    assert b"'" not in reply  # nginx quotes it
    assert b"$" not in reply


def test_the_raw_request_states_its_length() -> None:
    head, _, body = workload.raw_request(80, b"{}").partition(b"\r\n\r\n")
    assert head.endswith(b"Content-Length: 2")
    assert body == b"{}"


def test_a_stream_ends_with_its_count_and_its_mark() -> None:
    events = workload.last_events(7).split(b"\n\n")
    assert events[2:] == [b"data: [DONE]", b""]
    assert json.loads(events[1].removeprefix(b"data: "))["usage"]["completion_tokens"] == 7
    beside = 1 + len(events) - 1
    assert beside == workload.EVENTS_BESIDE_TOKENS
    assert json.loads(workload.stream_request_body(7))["max_tokens"] == 7
