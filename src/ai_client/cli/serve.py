"""`ai-client serve`: the daemon."""

from __future__ import annotations

import asyncio
import os
import sys

import click
import uvloop

from ai_client.cli.options import Options, config_option
from ai_client.config.load import Loaded, load
from ai_client.daemon.process import Daemon


@click.command(short_help="Run the daemon: an OpenAI-compatible endpoint on this node.")
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT, [IPv6]:PORT or unix:PATH; may be given several times. Overrides [daemon] listen.",
)
@config_option
def serve(options: Options, listen: tuple[str, ...]) -> None:
    """Serve the OpenAI API on this node until SIGTERM or SIGINT.

    SIGHUP reads the configuration again. Under systemd it takes its sockets, tells when it is ready and keeps the
    watchdog content. It listens on loopback unless told otherwise.
    """
    environ = dict(os.environ)

    def read() -> Loaded:
        return load(options.config_path, environ)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(Daemon(read, listen, environ)))


async def _serve(daemon: Daemon) -> None:
    await daemon.start()
    print(f"ai-client serves on {', '.join(daemon.bound)}", file=sys.stderr, flush=True)
    await daemon.wait()
