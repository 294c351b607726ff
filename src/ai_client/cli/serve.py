"""`ai-client serve`: the daemon."""

from __future__ import annotations

import asyncio
import gc
import os
from functools import partial

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
    """Serve the OpenAI API on this node until SIGTERM or ^C; what is under way then ends first, but not on a second ^C.

    SIGHUP reads the configuration again. Under systemd it takes its sockets, tells when it is ready and keeps the
    watchdog content. It listens on loopback unless told otherwise.
    """
    environ = dict(os.environ)

    def read() -> Loaded:
        return load(options.config_path, environ)

    # a request makes no cycles, so looking for some every few hundred objects only costs; and what the start made stays
    gc.set_threshold(20_000, 10, 10)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(Daemon(read, listen, environ, partial(click.echo, err=True))))
        except OSError as error:
            raise click.ClickException(error.strerror or str(error)) from None


async def _serve(daemon: Daemon) -> None:
    await daemon.start()
    gc.collect()
    gc.freeze()
    click.echo(f"ai-client serves on {', '.join(daemon.bound)}", err=True)
    if daemon.log_dir is not None:  # else they are seen here
        click.echo(f"its logs are in {daemon.log_dir}: daemon.log and calls.log", err=True)
    for warning in daemon.warnings:  # the log has them too, but whoever starts it by hand looks here
        click.echo(f"warning: {warning}", err=True)
    await daemon.wait()
