"""`ai-client health`: configuration, key, provider and daemon, a line each.

Also `--health-check`, which monitoring runs often: it imports the configuration and the transport, and no more.
"""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click
import msgspec
import uvloop

from ai_client.cli.options import Number, Options, config_option, json_option
from ai_client.cli.probe import PATIENCE_S, get, get_local
from ai_client.clock import Clock, SystemClock
from ai_client.config.checks import how_to_give_a_key
from ai_client.config.load import Loaded, load
from ai_client.config.snapshot import Config, Provider
from ai_client.daemon.listen import Address, parse_address
from ai_client.errors import ConfigurationError, UpstreamError
from ai_client.transport.pool import Origin, PoolSettings
from ai_client.transport.proxy import Proxy
from ai_client.transport.tls import client_context

_REFUSED: Final = (401, 403)


class Status(enum.IntEnum):
    """How well a thing is; the worst of all is the exit code."""

    OK = 0
    DEGRADED = 1
    WRONG = 2


_WORDS: Final[Mapping[Status, str]] = {Status.OK: "ok", Status.DEGRADED: "degraded", Status.WRONG: "wrong"}


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one check found. `latency_ms` is that of a question that was answered."""

    check: str
    status: Status
    detail: str
    latency_ms: float | None = None


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class _Ready(msgspec.Struct):
    status: str
    version: str
    reload_failed: str | None = None
    circuits: dict[str, str] = {}


@click.command(short_help="Check configuration, key, provider and daemon.")
@click.option(
    "--timeout",
    type=Number(0, min_open=True),
    default=PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="What an answer may take.",
)
@config_option
@json_option
@click.pass_context
def health(ctx: click.Context, options: Options, timeout: float, *, as_json: bool) -> None:
    """Check the configuration, each provider's key, that each provider can be reached, and that the daemon serves.

    Nothing is spent: providers are asked for their list of models. Exit codes: 0 all is well; 1 something is
    degraded, such as a daemon that does not run or a provider that cannot be reached; 2 the configuration is wrong, or
    a key is missing or refused.
    """
    try:
        loaded = load(options.config_path, os.environ)
    except ConfigurationError as error:
        findings = [Finding("configuration", Status.WRONG, problem) for problem in error.problems]
    else:
        findings = [_configured(loaded)]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings += runner.run(_look(loaded.config, SystemClock(), timeout))
    worst = max(finding.status for finding in findings)
    if as_json:
        told: dict[str, Any] = {"status": _WORDS[worst], "checks": [_plain(finding) for finding in findings]}
        click.echo(msgspec.json.format(msgspec.json.encode(told), indent=2))
    else:
        width = max(len(finding.check) for finding in findings)
        for finding in findings:
            click.echo(f"{finding.check:<{width}}  {_WORDS[finding.status]:<8}  {finding.detail}")
    ctx.exit(int(worst))


def _plain(finding: Finding) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(finding)
    return told | {"status": _WORDS[finding.status]}


def _configured(loaded: Loaded) -> Finding:
    """The files that say anything, and what is doubtful in them."""
    places = (origin.rpartition(":") for origin in loaded.origins.values())
    files = list(dict.fromkeys(path for path, _, line in places if path and line.isdecimal()))
    text = ", ".join(files) or "defaults"
    return Finding("configuration", Status.OK, "; ".join([text, *(f"warning: {each}" for each in loaded.warnings)]))


async def _look(config: Config, clock: Clock, patience: float) -> list[Finding]:
    """All checks that ask somebody, at the same time."""
    providers = asyncio.gather(*(_provider(config, each, clock, patience) for each in config.endpoints.values()))
    daemons = asyncio.gather(*(_daemon(address, clock, patience) for address in config.daemon.listen))
    pairs = await providers
    keys: Iterable[Finding] = (pair[0] for pair in pairs)
    upstreams: Iterable[Finding] = (pair[1] for pair in pairs)
    return [*keys, *upstreams, *await daemons]


async def _provider(config: Config, provider: Provider, clock: Clock, patience: float) -> tuple[Finding, Finding]:
    """What is to be said of a provider's key, and of the way to it."""
    origin = Origin.parse(provider.base_url)
    key = provider.api_key.reveal() if provider.api_key is not None else ""
    # Programs on this machine and in its network often ask for none; the default provider does.
    needed = not Address(origin.host).local and provider is next(iter(config.endpoints.values()))
    status, detail = Status.OK, "well-formed" if key else "none, and none is needed"
    if needed and not key:
        status, detail = Status.WRONG, f"missing: {how_to_give_a_key(provider.name)}"
    try:
        settings = PoolSettings(
            size=1,
            connect_timeout=min(patience, config.performance.connection_timeout),
            tls=client_context(verify=provider.verify_ssl, ca_bundle=provider.cert_path) if origin.secure else None,
            proxy=Proxy.parse(provider.proxy_url) if provider.proxy_url else None,
        )
        answer = await get(origin, "/models", settings, clock, key=key, patience=patience)
    except (UpstreamError, OSError) as error:  # OSError: a CA bundle that cannot be used
        text = error.message if isinstance(error, UpstreamError) else f"cert_path {provider.cert_path}: {error}"
        upstream = Finding(f"upstream {provider.name}", Status.DEGRADED, text)
    else:
        ms = round(answer.latency_ns / 1e6, 1)
        if answer.status in _REFUSED:
            status = Status.WRONG
            detail = f"{'refused' if key else 'asked for, and none is configured'} ({answer.status})"
        elif key:
            detail += ", accepted"
        how, text = _judge(provider, answer.status, answer.body)
        upstream = Finding(f"upstream {provider.name}", how, f"{provider.base_url} {text} in {ms:g} ms", ms)
    return Finding(f"key {provider.name}", status, detail), upstream


def _judge(provider: Provider, status: int, body: bytes) -> tuple[Status, str]:
    """What an answer to GET /models says of a provider."""
    if status in _REFUSED:
        return Status.OK, "answers"
    if not 200 <= status < 300:
        return Status.DEGRADED, f"answers GET /models with {status} (is base_url right?)"
    try:
        offered = {model.id for model in msgspec.json.decode(body, type=_Models).data}
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Status.DEGRADED, "answers GET /models with something that is no list of models (is base_url right?)"
    wanted = [provider.upstream_model(model) for model in provider.models if model != "*"]
    missing = [model for model in wanted if model not in offered]
    lacking = f", does not list {', '.join(missing)}," if missing and offered else ""
    return Status.OK, f"answers{lacking}"


async def _daemon(text: str, clock: Clock, patience: float) -> Finding:
    name = f"daemon {text}"
    if parse_address(text).path is None and text.endswith(":0"):
        return Finding(name, Status.DEGRADED, "listens on any free port: nobody can know which")
    try:
        # to whoever may come from another machine the daemon says no more than that it lives, unless they have a token
        path = "/health/live" if parse_address(text).tls else "/health/ready"
        answer = await get_local(text, path, clock, patience=patience)
        ready = msgspec.json.decode(answer.body, type=_Ready)
    except UpstreamError as error:
        return Finding(name, Status.DEGRADED, f"does not serve: {error.message}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Finding(name, Status.DEGRADED, "another program answers here")
    ms = round(answer.latency_ns / 1e6, 1)
    status, detail = Status.OK, f"{ready.status}, version {ready.version}, answers in {ms:g} ms"
    if answer.status != 200 or ready.reload_failed:
        status = Status.DEGRADED
    if ready.reload_failed:
        detail += f"; the last reload was refused: {' '.join(ready.reload_failed.split())}"
    if ill := sorted(target for target, state in ready.circuits.items() if state != "closed"):
        status = Status.DEGRADED
        detail += f"; failed too often lately: {', '.join(ill)}"
    return Finding(name, status, detail, ms)
