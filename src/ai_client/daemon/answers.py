"""Answers as the daemon puts them on the wire."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ai_client.answers import JSON, error_event, error_headers, error_json, told, told_whole
from ai_client.errors import AIClientError
from ai_client.model.record import Record
from ai_client.model.reply import Reply, Stream
from ai_client.transport.exchange import Exchange
from ai_client.transport.http import Header


def send_json(exchange: Exchange, value: object, status: int = 200) -> None:
    """Answer with `value` as JSON."""
    exchange.send(status, (JSON,), msgspec.json.encode(value))


def send_error(
    exchange: Exchange, error: AIClientError, record: Record | None = None, headers: Sequence[Header] = ()
) -> None:
    """Answer with an error."""
    exchange.send(error.status, [*error_headers(error, record), *headers], error_json(error))


def send_whole(exchange: Exchange, reply: Reply, record: Record) -> None:
    """Answer with a whole reply."""
    exchange.send(reply.status, reply.headers + told_whole(record), reply.body)


async def send_stream(exchange: Exchange, reply: Reply, stream: Stream, record: Record) -> None:
    """Answer with a stream, as it comes."""

    def write(piece: bytes) -> bool:
        record.bytes_out += len(piece)
        exchange.write(piece)
        return not exchange.backed_up

    try:
        exchange.start(reply.status, reply.headers + told(record))
        await stream.relay(write, exchange.drain)
        exchange.end()
    except AIClientError as error:
        # the status has left; what remains is to say so, and not to end as if the answer were whole
        exchange.write(error_event(error))
        exchange.close_raw()
        error.__traceback__ = None  # the stream keeps its error, which would keep the frames, which keep the stream
    except BaseException:
        await stream.aclose()
        raise
