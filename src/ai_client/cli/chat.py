"""`ai-client chat`: ask a model, and watch it answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import click
import msgspec
import uvloop

from ai_client.cli.batch_view import usd
from ai_client.cli.group import OBEYED, complain, report
from ai_client.cli.options import Options, Text, config_option, json_option, load_config
from ai_client.cli.reach import Route, reach, route_options
from ai_client.client import AsyncAIClient
from ai_client.errors import AIClientError, InvalidRequestError
from ai_client.model.record import Record
from ai_client.model.request import Endpoint
from ai_client.transport.sse import DONE, EventParser

_EXIT: Final = ("/exit", "/quit")
_NANO: Final = 1_000_000_000
_CUT: Final[Mapping[str, str]] = {
    "length": "cut off where its tokens ended",
    "content_filter": "cut off by the provider's filter",
}


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta = msgspec.field(default_factory=_Delta)
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []


class Said(msgspec.Struct, frozen=True):
    """An answer: its text, why it ended, and the record of the call."""

    text: str
    finish_reason: str | None
    record: Record


class Conversation:
    """What was said so far, and how to ask on."""

    def __init__(self, client: AsyncAIClient, model: str, system: str | None, max_tokens: int | None) -> None:
        self._client = client
        self._messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self._body: dict[str, Any] = {"model": model, "stream": True}
        if max_tokens is not None:
            self._body["max_tokens"] = max_tokens

    async def ask(self, prompt: str, show: Callable[[str], None]) -> Said:
        """Put a prompt and give each piece of the answer to `show` as it comes.

        The exchange becomes part of the conversation when the answer is whole. Raises the errors of
        `ai_client.errors`; a cancelled question is given up at the provider too.
        """
        messages = [*self._messages, {"role": "user", "content": prompt}]
        reply, record = await self._client.ask(Endpoint.CHAT, {**self._body, "messages": messages})
        if reply.stream is None:
            raise InvalidRequestError(f"{record.target or 'the other side'} did not stream its answer")
        parser = EventParser()
        pieces: list[str] = []
        reason: str | None = None
        try:
            async for part in reply.stream:
                for event in parser.feed(part):
                    if not event.data or event.data == DONE:
                        continue
                    for choice in msgspec.json.decode(event.data, type=_Chunk).choices[:1]:
                        reason = choice.finish_reason or reason
                        if choice.delta.content:
                            pieces.append(choice.delta.content)
                            show(choice.delta.content)
        finally:
            await reply.stream.aclose()
        text = "".join(pieces)
        self._messages = [*messages, {"role": "assistant", "content": text}]
        return Said(text, reason, record)


@click.command(short_help="Ask a model and watch it answer.")
@click.argument("prompt", required=False, type=Text())
@click.option(
    "--model", type=Text(), default="", metavar="M", help="A model, an alias or `auto`.  [default: [models] default]"
)
@click.option("--system", type=Text(), metavar="TEXT", help="What the model is told before anything else.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Bounds each answer.")
@route_options
@config_option
@json_option
def chat(
    options: Options,
    prompt: str | None,
    model: str,
    system: str | None,
    max_tokens: int | None,
    *,
    as_json: bool,
    **route: Any,
) -> None:
    """Ask PROMPT and watch the answer come; ^C stops it.

    Without PROMPT, or with `-`, it is read from standard input; on a terminal, without PROMPT, a conversation begins:
    /exit or ^D ends it, and ^C stops an answer. Model, tokens, cost and time are told on standard error.
    """
    way = Route(**route)
    way.check()
    talk = prompt is None and sys.stdin.isatty()
    if prompt == "-" or (prompt is None and not talk):
        prompt = _piped()
    if prompt is not None and not prompt.strip():
        raise click.UsageError("the prompt is empty")
    if talk and as_json:
        raise click.UsageError("--json wants a PROMPT, as an argument or on standard input")
    loaded = load_config(options)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        reached = runner.run(reach(way, loaded, options))
        try:
            conversation = Conversation(reached.client, model, system, max_tokens)
            if prompt is None:
                click.echo(f"Through {reached.through}. /exit or ^D ends the conversation.", err=True)
                _talk(runner, conversation)
            else:
                if reached.in_vain and sys.stderr.isatty():  # told to a person, who may have thought otherwise
                    click.echo(click.style(f"Through {reached.through}.", dim=True), err=True)
                _answer(runner, conversation, prompt, as_json=as_json)
        finally:
            runner.run(reached.client.aclose())


def _piped() -> str:
    """The prompt on standard input. Raises `click.UsageError` when it is no text."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not UTF-8: byte {error.start + 1} is wrong") from None


def _typed() -> str:
    """A line from the terminal. Raises EOFError, and UnicodeError when it is no text."""
    line = input("> ")
    line.encode()  # in some locales what cannot be decoded comes as halves of pairs, which nothing can encode
    return line


def _talk(runner: asyncio.Runner, conversation: Conversation) -> None:
    """Prompts from the terminal until there are no more. What goes wrong with one leaves the conversation as it was."""
    while True:
        try:
            prompt = _typed()
        except (EOFError, KeyboardInterrupt) as end:
            click.echo()  # the terminal stands behind the prompt
            if isinstance(end, KeyboardInterrupt):
                raise
            return
        except UnicodeError:
            complain("that is not UTF-8, and was not sent")
            continue
        if prompt.strip() in _EXIT:
            return
        if not prompt.strip():
            continue
        try:
            _answer(runner, conversation, prompt)
        except AIClientError as error:
            report(error)
        except KeyboardInterrupt:
            click.echo(click.style("(stopped)", dim=True), err=True)


def _answer(runner: asyncio.Runner, conversation: Conversation, prompt: str, *, as_json: bool = False) -> None:
    """Ask and show. ^C raises KeyboardInterrupt once the answer is given up and its line on the terminal ended."""
    terminal = sys.stdout.isatty()
    begun = False

    def show(text: str) -> None:
        nonlocal begun
        begun = True
        sys.stdout.write(text.translate(OBEYED) if terminal else text)
        sys.stdout.flush()

    try:
        said = runner.run(conversation.ask(prompt, _unshown if as_json else show))
    except (AIClientError, KeyboardInterrupt) as end:
        if begun or (terminal and isinstance(end, KeyboardInterrupt)):  # the terminal shows a ^C as well
            click.echo()
        raise
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(_told(said)), indent=2))
    else:
        click.echo()
        click.echo(click.style(_summary(said), dim=True), err=True)


def _unshown(_: str) -> None:
    """With --json, the answer is printed whole."""


def _summary(said: Said) -> str:
    record, usage = said.record, said.record.usage
    parts = [
        record.target or record.model,
        f"{'about ' if usage.estimated else ''}{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out",
        usd(record.cost_nano / _NANO) if record.cost_nano or not usage.total_tokens else "cost unknown",
        f"{record.duration_ns / _NANO:.1f} s",
    ]
    if record.cache in ("hit", "coalesced"):
        parts[2] = "from the cache"
    if cut := _CUT.get(said.finish_reason or ""):
        parts.append(cut)
    return ", ".join(parts)


def _told(said: Said) -> dict[str, Any]:
    record = said.record
    return {
        "content": said.text,
        "finish_reason": said.finish_reason,
        "model": record.model,
        "target": record.target,
        "cache": record.cache,
        "attempts": record.attempts,
        "input_tokens": record.usage.input_tokens,
        "output_tokens": record.usage.output_tokens,
        "usage_estimated": record.usage.estimated,
        "cost_usd": record.cost_nano / _NANO,
        "seconds": round(record.duration_ns / _NANO, 3),
        "request_id": record.request_id,
    }
