"""`ai-client token`: make a token for an app, so that no secret passes through a shell."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

import click
import msgspec

from ai_client.cli.options import json_option
from ai_client.config.secrets import read_key_file
from ai_client.config.values import is_name

_BYTES: Final = 32  # of chance: 256 bits, beyond any guessing


@click.command(short_help="Make a token for an app, and the hash that the configuration keeps.")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the token goes, for its owner alone (0600); the file must not exist.  [default: NAME.token]",
)
@click.option(
    "--from",
    "existing",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Make no token: hash the one in FILE.",
)
@json_option
def token(name: str, output: Path | None, existing: Path | None, *, as_json: bool) -> None:
    """Make a token for the app NAME and print the section of the configuration that lets it in.

    The token is written to a file and nowhere else; what is printed is its hash, and no secret.
    """
    if not is_name(name):
        raise click.UsageError(f"{name!r} is no app's name: letters, digits, dots, dashes and underscores, at most 63")
    if existing is not None and output is not None:
        raise click.UsageError("--from and --output exclude one another")
    file = existing or output or Path(f"{name}.token")
    if existing is not None:
        try:
            text = read_key_file(existing).reveal()
        except ValueError as error:
            raise click.UsageError(f"{existing} {error}") from None
    else:
        text = secrets.token_urlsafe(_BYTES)
        _write(file, text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    if as_json:
        click.echo(msgspec.json.encode({"app": name, "token_sha256": digest, "token_file": str(file)}))
    else:
        click.echo(f"[app {name}]\ntoken_sha256 = {digest}")


def _write(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise click.UsageError(f"{path} cannot be made: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{text}\n")
    except OSError as error:
        path.unlink()  # half a token is none
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from None
    click.echo(f"the token is in {path}", err=True)
