"""`ai-client simulate`: a provider to develop and test against."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop

from ai_client.cli.options import json_option
from ai_client.clock import SystemClock
from ai_client.daemon.listen import Address, cannot_listen
from ai_client.simulator.app import start
from ai_client.simulator.faults import KINDS, OPTIONS
from ai_client.simulator.settings import PREFILLS, PROFILES, Settings

_MOST_PORT: Final = 65_535


class _Command(click.Command):
    """Appends the table of faults to the help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the faults and their options."""
        with formatter.section("Faults"):
            formatter.write_text("--fault NAME[:ARGUMENT][@OPTION=VALUE,...], for example")
            formatter.write_text("reset@p=0.02  status:503@every=10  stall@from=5,to=8,model=gpt-4.1")
        with formatter.section("Names"):
            names = [(kind.name + (f":{kind.argument}" if kind.argument else ""), _told(kind)) for kind in KINDS]
            formatter.write_dl(names)
        with formatter.section("Options of a fault"):
            formatter.write_dl(list(OPTIONS.items()))


def _told(kind: Any) -> str:
    notes = [f"{kind.argument} is one of {', '.join(kind.choices)}"] if kind.choices else []
    notes += ["streams only"] if kind.streams_only else []
    return "; ".join([kind.meaning, *notes])


@click.command(cls=_Command, short_help="Run a provider to develop and test against.")
@click.option("--listen", default="127.0.0.1:4010", show_default=True, metavar="HOST:PORT", help="Port 0 picks one.")
@click.option("--seed", default=1, show_default=True, help="Same seed and same request: same answer.")
@click.option("--rpm", default=0, metavar="N", help="Requests a minute for each key.  [default: no limit]")
@click.option("--tpm", default=0, metavar="N", help="Tokens a minute for each key.  [default: no limit]")
@click.option(
    "--burst-seconds",
    default=60.0,
    show_default=True,
    metavar="X",
    help="How much of it a rested key may spend at once: as much as accrues in this time.",
)
@click.option(
    "--profile",
    type=click.Choice(PROFILES),
    default="realistic",
    show_default=True,
    help="The models' own delays, a tenth of them, or none.",
)
@click.option("--latency-ms", type=float, metavar="X", help="A fixed time to the first token, and none between tokens.")
@click.option("--token-ms", type=float, metavar="X", help="A fixed time between tokens.")
@click.option("--reply-tokens", default=0, metavar="N", help="The length of every reply.  [default: drawn]")
@click.option("--fault", "faults", multiple=True, metavar="SPEC", help="A fault, as below; may be given several times.")
@click.option("--key", "keys", multiple=True, metavar="KEY", help="A key to accept; without any, all are accepted.")
@click.option(
    "--answers",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON lines with question and answer: asked one of these, a model is right as often as it would be.",
)
@click.option(
    "--prefill",
    type=click.Choice(PREFILLS),
    default="ignore",
    show_default=True,
    help="What becomes of a chat that ends with an assistant's message: answered anew, gone on with, or 400.",
)
@json_option
def simulate(listen: str, *, as_json: bool, **chosen: Any) -> None:
    """Run an OpenAI-compatible provider with limits, delays and faults of its own, until ^C or SIGTERM.

    It listens on loopback unless told otherwise. GET /sim/stats tells what it did, POST /sim/faults changes the
    faults, POST /sim/reset begins anew.
    """
    host, port = _address(listen)
    settings = Settings(**chosen)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(settings, host, port, as_json=as_json))
        except OSError as error:
            raise click.ClickException(cannot_listen(Address(host, port).place, error)) from None


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= _MOST_PORT):
        raise click.BadParameter(f"{listen!r}: expected HOST:PORT or [IPv6]:PORT", param_hint="--listen")
    return host, int(port)


async def _serve(settings: Settings, host: str, port: int, *, as_json: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with await start(settings, SystemClock(), host, port) as running:
        if as_json:
            click.echo(msgspec.json.encode({"url": running.url, "pid": os.getpid()}))
        else:
            click.echo(f"listening on {running.url}")
        await stop.wait()
