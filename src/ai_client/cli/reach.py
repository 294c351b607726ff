"""Who answers a command's calls: the daemon that was named, else the node's own if it answers, else this process."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from ai_client.cli.options import Options, warn
from ai_client.cli.probe import get_local
from ai_client.client import AsyncAIClient
from ai_client.clock import Clock, SystemClock
from ai_client.config.load import Loaded
from ai_client.daemon.listen import parse_address
from ai_client.errors import ConfigurationError, UpstreamError

_PATIENCE_S: Final = 1.0

Command = TypeVar("Command", bound=Callable[..., Any])


class Route(msgspec.Struct, frozen=True):
    """Where calls shall go: `local` names a daemon, `direct` forbids any, neither looks for the node's own."""

    local: str | None = None
    direct: bool = False
    token_file: Path | None = None

    def check(self) -> None:
        """Raises `click.UsageError` when it contradicts itself."""
        if self.local is not None and self.direct:
            raise click.UsageError("--local and --direct exclude one another")


def route_options(command: Command) -> Command:
    """Give a command `--local`, `--direct` and `--token-file`, which arrive as the arguments of a `Route`."""
    for option in (
        click.option(
            "--token-file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Holds the token that the daemon asks for.",
        ),
        click.option(
            "--direct", is_flag=True, help="Go through no daemon.  [default: through the node's, if it answers]"
        ),
        click.option("--local", metavar="ADDRESS", help="Go through the daemon at HOST:PORT or unix:PATH."),
    ):
        command = option(command)
    return command


class Reached(msgspec.Struct, frozen=True):
    """A client; `through` says where its calls go, `in_vain` that the node's daemon was looked for and not found."""

    client: AsyncAIClient
    through: str
    in_vain: bool = False


async def reach(route: Route, loaded: Loaded, options: Options) -> Reached:
    """Find out who answers.

    Only when it is this process that asks the provider, its configuration's doubts are told: a daemon has told its own,
    and has the key that a program beside it rightly lacks.

    Raises `click.UsageError` for a token file that cannot be read, `ConfigurationError`.
    """
    listen = loaded.config.daemon.listen
    address = route.local
    if address is None and not route.direct:
        address = await find_daemon(listen, SystemClock())
    if address is not None:
        client = AsyncAIClient.local(address, token=read_token(route.token_file), config=options.config_path)
        return Reached(client, f"the daemon at {address}")
    client = AsyncAIClient(config=options.config_path)  # it wants the keys, and says which it cannot read
    warn(loaded)
    through = f"this process, to {loaded.config.api.base_url}"
    if not route.direct:
        through += f", since {nobody_at(listen)}"
    return Reached(client, through, in_vain=not route.direct)


async def find_daemon(listen: Sequence[str], clock: Clock) -> str | None:
    """The first of these addresses at which a daemon answers; a Unix socket goes first.

    Those that speak TLS are for other machines: here they would have to be known by a name.
    """
    for address in sorted(listen, key=lambda one: not one.startswith("unix:")):
        if await _lives(address, clock):
            return address
    return None


def nobody_at(listen: Sequence[str]) -> str:
    """In words, that no daemon answers at any of these; a socket that this user may not open is told apart."""
    places = [
        f"{address} (it is there, and not for you: see `ls -l`)" if _barred(address) else address for address in listen
    ]
    return f"no daemon answers at {', '.join(places)}"


def read_token(path: Path | None) -> str | None:
    """The token in a file. Raises `click.UsageError` when it cannot be read."""
    if path is None:
        return None
    try:
        return path.read_text("utf-8").strip()
    except OSError as error:
        raise click.UsageError(f"--token-file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"--token-file {path} cannot be read: it is no text") from None


def _barred(address: str) -> bool:
    """Is there a Unix socket which only others may open?"""
    path = address.removeprefix("unix:")
    if path == address:
        return False
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode) and not os.access(path, os.W_OK, effective_ids=True)
    except OSError as error:
        return isinstance(error, PermissionError)


async def _lives(address: str, clock: Clock) -> bool:
    """Does a daemon answer there? A dead socket or a foreign server is no error here."""
    try:
        return (
            not parse_address(address).tls
            and (await get_local(address, "/health/live", clock, patience=_PATIENCE_S)).status == 200
        )
    except (UpstreamError, ConfigurationError):
        return False
