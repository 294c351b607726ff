"""`ai-client bundle`: releases for servers, built where there is a registry or a folder of wheels."""

from __future__ import annotations

import platform
from pathlib import Path

import click
import msgspec

from ai_client.bundle.assemble import assemble
from ai_client.bundle.fetch import ARCHES, PYTHONS
from ai_client.bundle.verify import verify as verify_folder
from ai_client.cli.options import json_option


@click.group(invoke_without_command=True, short_help="Build releases that servers run without installing anything.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where to put the bundle.")
@click.option(
    "--python",
    "pythons",
    multiple=True,
    type=click.Choice(PYTHONS),
    help="The servers' Python; may be given several times.  [default: all]",
)
@click.option(
    "--arch",
    "arches",
    multiple=True,
    type=click.Choice(ARCHES),
    help="The servers' architecture; may be given several times.  [default: this machine's]",
)
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Take packages from this folder, and ask no registry.",
)
@click.option(
    "--interpreter",
    "interpreters",
    multiple=True,
    metavar="PATH",
    help="A Python to compile with, where the PATH has none of that version; may be given several times.",
)
@json_option
@click.pass_context
def bundle(
    ctx: click.Context,
    out: Path | None,
    pythons: tuple[str, ...],
    arches: tuple[str, ...],
    wheels: Path | None,
    interpreters: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Build a release of this program for each Python and architecture, with all that it needs.

    A server unpacks it anywhere and runs bin/ai-client with its distribution's Python: no network, no pip, no compiler.
    The same inputs give the same bytes. DIR gets archives, an SBOM for each, SHA256SUMS, and bundle.json, the list.
    """
    if ctx.invoked_subcommand is not None:
        return
    if out is None:
        raise click.UsageError("Missing option '--out'.")
    targets = [(python, arch) for python in pythons or PYTHONS for arch in arches or (platform.machine(),)]
    try:
        manifest = assemble(out, targets, wheels, interpreters)
    except OSError as error:
        raise click.ClickException(f"{error.filename or out}: {error.strerror}") from None
    for made in manifest.releases:
        if not made.bytecode:
            click.echo(
                f"warning: no Python {made.python} here to compile {made.file} with: name one with --interpreter, "
                "or compile it where it is installed",
                err=True,
            )
        if not as_json:
            click.echo(f"{made.file}  {made.bytes:,} bytes")
    if as_json:
        click.echo(msgspec.json.encode(manifest))


@bundle.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@json_option
def verify(folder: Path, *, as_json: bool) -> None:
    """Check a bundle, or a release where it is installed, against its sums.

    Prints each file that changed, is missing, or does not belong there; the exit code is then 1.
    """
    try:
        wrong = verify_folder(folder)
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder}: {error.strerror}") from None
    if as_json:
        click.echo(msgspec.json.encode({"sound": not wrong, "problems": wrong}))
    else:
        click.echo("\n".join(wrong) or f"{folder}: sound")
    if wrong:
        raise SystemExit(1)
