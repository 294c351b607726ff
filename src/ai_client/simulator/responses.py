"""The wire format of `/responses`, whole and streamed."""

from __future__ import annotations

from typing import Final

from ai_client.simulator.chat import Frames
from ai_client.simulator.generation import Generation
from ai_client.simulator.prose import Prose

_RESPONSE: Final = (
    b'{"id":"resp_%b","object":"response","created_at":%d,"status":"%b","background":false,"error":null,'
    b'"incomplete_details":%b,"instructions":null,"max_output_tokens":null,"model":"%b","output":[%b],'
    b'"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},'
    b'"store":false,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],'
    b'"top_p":1.0,"truncation":"disabled","usage":%b,"user":null,"metadata":{}}'
)
_USAGE: Final = (
    b'{"input_tokens":%d,"input_tokens_details":{"cached_tokens":%d},"output_tokens":%d,'
    b'"output_tokens_details":{"reasoning_tokens":0},"total_tokens":%d}'
)
_ITEM: Final = b'{"id":"msg_%b","type":"message","status":"%b","role":"assistant","content":[%b]}'
_PART: Final = b'{"type":"output_text","annotations":[],"logprobs":[],"text":"%b"}'


def whole(made: Generation, prose: Prose) -> bytes:
    """The body of an answer that is not streamed."""
    return _response(made, _state(made), _item(made, _state(made), made.choices[0].text(prose)))


def streamed(made: Generation, prose: Prose) -> Frames:
    """The events of a streamed answer. There is no `[DONE]`: `response.completed`, or `.incomplete`, is the last."""
    choice = made.choices[0]
    text, state, last = choice.text(prose), _state(made), choice.tokens - 1
    place = b'"item_id":"msg_%b","output_index":0,"content_index":0' % made.ident
    begun = b'"response":' + _response(made, b"in_progress", b"")
    events = [
        _event(b"response.created", 0, begun),
        _event(b"response.in_progress", 1, begun),
        _event(b"response.output_item.added", 2, b'"output_index":0,"item":' + _item(made, b"in_progress", None)),
        _event(b"response.content_part.added", 3, place + b',"part":' + _PART % b""),
    ]
    tokens = [0] * len(events)
    begin = len(events)
    for number, piece in enumerate(choice.pieces(prose)):
        events.append(_event(b"response.output_text.delta", begin + number, place + b',"delta":"' + piece + b'"'))
        tokens.append(number)
    ending = (
        (b"response.output_text.done", place + b',"text":"' + text + b'"'),
        (b"response.content_part.done", place + b',"part":' + _PART % text),
        (b"response.output_item.done", b'"output_index":0,"item":' + _item(made, state, text)),
        (b"response." + state, b'"response":' + _response(made, state, _item(made, state, text))),
    )
    for name, fields in ending:
        events.append(_event(name, len(events), fields))
        tokens.append(last)
    return Frames(events, tokens, len(events) - 1)


def _event(name: bytes, number: int, fields: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (name, name, number, fields)


def _state(made: Generation) -> bytes:
    return b"incomplete" if made.choices[0].cut else b"completed"


def _item(made: Generation, state: bytes, text: bytes | None) -> bytes:
    return _ITEM % (made.ident, state, b"" if text is None else _PART % text)


def _response(made: Generation, state: bytes, item: bytes) -> bytes:
    total = made.prompt_tokens + made.completion_tokens
    usage = _USAGE % (made.prompt_tokens, made.cached_tokens, made.completion_tokens, total)
    return _RESPONSE % (
        made.ident,
        made.created,
        state,
        b'{"reason":"max_output_tokens"}' if state == b"incomplete" else b"null",
        made.name,
        item,
        usage if item else b"null",
    )
