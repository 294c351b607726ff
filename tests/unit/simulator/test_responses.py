"""`/responses` on the wire."""

from __future__ import annotations

from tests.unit.simulator.stage import Stage

ASK = {"model": "claude-sonnet-4.5", "input": "Hi.", "instructions": "Be kind."}


def test_a_whole_response() -> None:
    answer = Stage().ask("/v1/responses", {**ASK, "input": [{"role": "user", "content": "Hi."}]}).json
    assert (answer["object"], answer["status"], answer["incomplete_details"]) == ("response", "completed", None)
    (item,) = answer["output"]
    assert item["content"][0]["type"] == "output_text"
    assert answer["usage"]["input_tokens"] == 6
    assert answer["usage"]["total_tokens"] == 6 + answer["usage"]["output_tokens"]


def test_a_response_cut_off_by_its_bound() -> None:
    answer = Stage().ask("/v1/responses", {**ASK, "max_output_tokens": 4}).json
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["usage"]["output_tokens"] == 4


def test_a_streamed_response() -> None:
    page = Stage().ask("/v1/responses", {**ASK, "stream": True, "max_output_tokens": 4})
    events = page.events
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "incomplete",
    ]
    names = [line[7:].decode() for line in page.body.split(b"\n") if line.startswith(b"event: ")]
    assert names == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "".join(event["delta"] for event in events[4:8]) == events[8]["text"]
    assert events[0]["response"]["usage"] is None
    assert events[-1]["response"]["usage"]["output_tokens"] == 4
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == events[8]["text"]


def test_a_stream_that_completes() -> None:
    assert (
        Stage(reply_tokens=3).ask("/v1/responses", {**ASK, "stream": True}).events[-1]["type"] == "response.completed"
    )
