"""Every section and key of the configuration, each declared once.

A key's declaration is its field: type, default, range, unit and meaning stand together, and parsing, `config
keys`, the reference page and the suggestions of nearest keys are all derived from it. A section's meaning is the first
line of its class's docstring. Durations are seconds; 1 KiB = 1024 bytes, 1 MiB = 1024 KiB, 1 GiB = 1024 MiB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec

from ai_client.config.keys import Keyed, inherited, key, required
from ai_client.config.quotas import QUOTA, Limits
from ai_client.config.secrets import Secret
from ai_client.config.streams import COMMIT
from ai_client.config.values import (
    addresses,
    aliases,
    base_url,
    boolean,
    choice,
    integer,
    ledger,
    model,
    models,
    money,
    name,
    number,
    optional,
    optional_name,
    path,
    pattern,
    proxy_url,
    secret,
    served_models,
    several,
    token_hash,
)

_SECONDS: Final = number(0.001, 86_400)
_PAUSE: Final = number(0, 86_400)
_PRIORITY: Final = integer(1, 10)
_HOST: Final = pattern("host", "a host name or an IP address", r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}")
_NAME: Final = name()
WEIGHT: Final = integer(1, 1000)
_STICKY: Final = integer(0, 1024)


class Api(Keyed, frozen=True, kw_only=True):
    """The default provider: where calls go unless another provider serves their model."""

    base_url: str = key(base_url(), "https://api.holysheep.ai/v1", "Where the provider's API begins.")
    provider: str = key(
        _NAME,
        "holysheep",
        "This provider's name in logs, metrics and headers; under the name holysheep, keys must begin with `hs_`.",
    )
    api_key: Secret | None = key(
        secret(),
        None,
        "The key, if it must stand in the file. A systemd credential, `api_key_file` and the environment precede it.",
        secret=True,
    )
    api_key_file: Path | None = key(optional(path()), None, "A file that holds the key and nothing else.")
    timeout: float = key(
        _SECONDS, 30.0, "What one attempt may take until a whole answer, or a stream's first byte.", unit="seconds"
    )
    max_retries: int = key(
        integer(0, 100),
        3,
        "The most further attempts at one target after its first one failed; what failed says how many it gets.",
    )
    connection_pool_size: int = key(
        integer(1, 100_000), 100, "Connections to the provider at once, idle ones included."
    )
    models: tuple[str, ...] = key(
        served_models(),
        ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2"),
        "The models that this provider serves.",
    )
    stream_usage: bool = key(
        boolean(), True, "Ask for token counts at a stream's end (`stream_options.include_usage`), to know its cost."
    )
    dialect: str = key(choice("openai"), "openai", "The API that the provider speaks.")
    weight: int = key(WEIGHT, 1, "This key's share of the calls, beside the weights of its [key NAME] sections.")
    sticky_prefix_kb: int = key(
        _STICKY,
        0,
        "Calls whose bodies begin with the same so many KiB go to the same key; 0: calls take turns.",
        unit="KiB",
    )


class Models(Keyed, frozen=True, kw_only=True):
    """Which model answers a call that names none, and which stand in when a model fails."""

    default: str = key(model(), "deepseek-v3.2", "The model for calls that name none: a model, an alias or `auto`.")
    fallback: tuple[str, ...] = key(models(), (), "Models tried in turn when the one asked for cannot answer.")


class Performance(Keyed, frozen=True, kw_only=True):
    """Time and concurrency of calls."""

    connection_timeout: float = key(
        _SECONDS, 10.0, "What opening a connection may take: name, TCP, proxy and TLS together.", unit="seconds"
    )
    read_timeout: float = key(
        _SECONDS, 60.0, "Silence allowed between two pieces of a streamed answer.", unit="seconds"
    )
    first_token_timeout: float = key(
        _SECONDS,
        120.0,
        "What a streamed answer may take until its first content, from its sending; a role, comment or ping is none.",
        unit="seconds",
    )
    max_concurrent_requests: int = key(
        integer(1, 1_000_000), 50, "Requests under way at once, for each provider, from this node."
    )
    request_timeout_buffer: float = key(
        _PAUSE, 5.0, "Kept back from the caller's deadline, so that a proper error can still be sent.", unit="seconds"
    )
    total_timeout: float = key(_SECONDS, 600.0, "A call's whole time, waiting and retries included.", unit="seconds")


class Caching(Keyed, frozen=True, kw_only=True):
    """Answers kept for calls that repeat exactly."""

    enabled: bool = key(boolean(), True, "Whether answers are kept at all.")
    cache_dir: Path = key(path(), Path("/var/cache/ai-client"), "Where answers are kept on disk.")
    ttl_seconds: float = key(number(0, 10**9), 3600.0, "How long an answer may be used again.", unit="seconds")
    max_cache_size_gb: float = key(number(0, 10**6), 10.0, "Space for answers on disk.", unit="GiB")
    memory_mb: int = key(integer(0, 10**6), 64, "Space for answers in memory.", unit="MiB")
    scope: str = key(
        choice("all", "deterministic"),
        "all",
        "Whose answers are kept: all, or only those at temperature 0 and embeddings.",
    )
    persistent: str = key(
        choice("auto", "yes", "no"), "auto", "Whether answers are kept on disk too; auto: if `cache_dir` is writable."
    )


class Logging(Keyed, frozen=True, kw_only=True):
    """What the program writes about itself."""

    level: str = key(
        choice("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"), "INFO", "The least severe message that is written."
    )
    log_dir: Path = key(path(), Path("/var/log/ai-client"), "Where log files are kept.")
    format: str = key(choice("json", "text"), "json", "One JSON object a line, or text for people.")
    rotation: str = key(choice("daily", "none"), "daily", "When a new log file begins.")
    retention_days: int = key(integer(0, 36_500), 30, "How long rotated files are kept; 0 keeps all.", unit="days")
    destination: str = key(
        choice("auto", "file", "stderr"), "auto", "Where messages go; auto: a file if `log_dir` is writable."
    )


class Security(Keyed, frozen=True, kw_only=True):
    """TLS and the way out."""

    verify_ssl: bool = key(boolean(), True, "Whether certificates are checked. Without, anybody on the way can read.")
    proxy_url: str = key(proxy_url(), "", "An HTTP proxy through which providers are reached (CONNECT).", secret=True)
    cert_path: Path | None = key(optional(path()), None, "A PEM file of the certificate authorities to trust.")


class Monitoring(Keyed, frozen=True, kw_only=True):
    """Metrics for Prometheus."""

    enable_metrics: bool = key(boolean(), True, "Whether anything is counted.")
    metrics_port: int = key(integer(0, 65_535), 9090, "The port of `/metrics` for Prometheus; 0 takes any free one.")
    metrics_host: str = key(_HOST, "127.0.0.1", "The address on which that port listens.")
    metrics_public: bool = key(
        boolean(),
        False,
        "Let `metrics_host` be within other machines' reach: in plain HTTP, and nobody is asked for a token.",
    )
    export_prometheus: bool = key(boolean(), True, "Whether that port is opened; the daemon has `/metrics` anyway.")


class Routing(Keyed, frozen=True, kw_only=True):
    """Names that choose a model, and how failures are retried."""

    larger: Mapping[str, str] = key(
        aliases(),
        MappingProxyType({}),
        "Where a prompt goes that does not fit a model: `gpt-4.1: gemini-2.5-flash`.",
    )
    aliases: Mapping[str, str] = key(
        aliases(), MappingProxyType({}), "Other names for models: `fast: gemini-2.5-flash, cheap: deepseek-v3.2`."
    )
    simple: str = key(model(), "deepseek-v3.2", "What `auto` chooses for a simple prompt.")
    moderate: str = key(model(), "gemini-2.5-flash", "What `auto` chooses for a prompt that is neither.")
    complex: str = key(model(), "claude-sonnet-4.5", "What `auto` chooses for a complex prompt.")
    retry_base_delay: float = key(
        _PAUSE, 0.5, "The longest pause before the first retry; it doubles with each further one.", unit="seconds"
    )
    retry_max_delay: float = key(_PAUSE, 30.0, "The longest pause before any retry.", unit="seconds")
    max_attempts: int = key(integer(1, 1000), 6, "Attempts of one call, over all its targets.")


class Batch(Keyed, frozen=True, kw_only=True):
    """Batches: many calls from one file."""

    concurrency: int = key(integer(1, 10_000), 32, "Calls of a batch under way at once.")
    priority: int = key(_PRIORITY, 2, "Priority of a batch's calls, from 1 (last) to 10 (first).")


class Daemon(Keyed, frozen=True, kw_only=True):
    """The server for this node's programs."""

    listen: tuple[str, ...] = key(
        addresses(),
        ("127.0.0.1:8089",),
        "Where it listens; port 0 takes any free one, `unix:` a socket's path; what others can reach speaks TLS.",
    )
    hosts: tuple[str, ...] = key(
        several("list of hosts", "names of hosts separated by commas, without ports, or nothing", name()),
        (),
        "Names with a dot in them by which this node's programs may call it where no token is asked for.",
    )
    tls_cert: Path | None = key(
        optional(path()),
        None,
        "The certificate and its chain (PEM) for addresses that speak TLS; the systemd credential `ai-client-tls-cert` "
        "precedes it. A reload reads it again.",
    )
    tls_key: Path | None = key(
        optional(path()),
        None,
        "Its key (PEM, without a password); nothing: it stands in `tls_cert` too. The systemd credential "
        "`ai-client-tls-key` precedes it.",
    )
    max_body_mb: int = key(integer(1, 1024), 32, "The largest body of a request.", unit="MiB")
    max_arriving_mb: int = key(
        integer(1, 10**6),
        256,
        "What bodies that are not whole yet, or wait for the answer before theirs, may hold on all connections.",
        unit="MiB",
    )
    max_header_kb: int = key(integer(1, 1024), 32, "The largest header of a request.", unit="KiB")
    max_headers: int = key(integer(1, 10_000), 100, "The most header fields of a request.")
    header_timeout: float = key(_SECONDS, 10.0, "What a request's header may take to arrive.", unit="seconds")
    body_timeout: float = key(_SECONDS, 30.0, "What a request's body may take to arrive.", unit="seconds")
    keepalive_timeout: float = key(_SECONDS, 75.0, "How long an idle connection is kept.", unit="seconds")
    write_timeout: float = key(
        _SECONDS,
        60.0,
        "How long a caller may read nothing of the answer it is sent, before it is cut off.",
        unit="seconds",
    )
    drain_timeout: float = key(_PAUSE, 30.0, "What calls under way may take when the daemon stops.", unit="seconds")
    max_connections: int = key(integer(1, 10**6), 10_000, "Connections of callers at once.")


class Costs(Keyed, frozen=True, kw_only=True):
    """What calls cost."""

    ledger: Path | None = key(ledger(), None, "The file in which spending is kept; none: in memory, until the end.")
    budget_usd_per_day: Decimal | None = key(
        optional(money()),
        None,
        "What all may spend in a calendar day of this node; nothing: no bound.",
        unit="USD",
    )
    unknown_price: str = key(
        choice("warn", "refuse"), "warn", "What happens to a call for a model without a price; it never counts as free."
    )


class Provider(Keyed, frozen=True, kw_only=True):
    """A further provider: any endpoint that speaks a known API.

    The [api] section is presented as one too. Every inherited value is filled in. `models` are the names callers use,
    with `*` among them when any other name passes unchecked; `renames` maps them to the provider's names where these
    differ.
    """

    name: str
    base_url: str = required(base_url(), "Where the provider's API begins.")
    dialect: str = key(choice("openai"), "openai", "The API that the provider speaks.")
    api_key: Secret | None = key(
        secret(), None, "The key. A systemd credential, `api_key_file` and the environment precede it.", secret=True
    )
    api_key_file: Path | None = key(optional(path()), None, "A file that holds the key and nothing else.")
    models: tuple[str, ...] = required(served_models(), "The models that this provider serves.")
    timeout: float = inherited("api", Api, "timeout")
    first_token_timeout: float = inherited("performance", Performance, "first_token_timeout")
    requests_per_minute: int = inherited("limits", Limits, "requests_per_minute")
    tokens_per_minute: int = inherited("limits", Limits, "tokens_per_minute")
    max_concurrent_requests: int = inherited("performance", Performance, "max_concurrent_requests")
    connection_pool_size: int = inherited("api", Api, "connection_pool_size")
    stream_usage: bool = inherited("api", Api, "stream_usage")
    verify_ssl: bool = inherited("security", Security, "verify_ssl")
    cert_path: Path | None = inherited("security", Security, "cert_path")
    proxy_url: str = inherited("security", Security, "proxy_url")
    weight: int = key(WEIGHT, 1, "This key's share of the calls, beside the weights of its [key NAME] sections.")
    sticky_prefix_kb: int = key(
        _STICKY,
        0,
        "Calls whose bodies begin with the same so many KiB go to the same key; 0: calls take turns.",
        unit="KiB",
    )
    renames: Mapping[str, str] = msgspec.field(default_factory=lambda: MappingProxyType({}))

    @property
    def open(self) -> bool:
        """Whether any model's name passes (`*`)."""
        return "*" in self.models

    def serves(self, model: str) -> bool:
        """Whether calls for this model may go here."""
        return model in self.models or self.open

    def upstream_model(self, model: str) -> str:
        """The name by which the provider knows this model."""
        return self.renames.get(model, model)


def renamed(items: Sequence[str]) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Take `local=upstream` apart: the names that callers use, and the provider's where these differ."""
    parts = [[part.strip() for part in item.partition("=")] for item in items]
    renames = MappingProxyType({local: upstream for local, _, upstream in parts if upstream})
    return tuple(local for local, _, _ in parts), renames


class App(Keyed, frozen=True, kw_only=True):
    """A local program, known by its token or its user, with what it may do."""

    name: str
    token_sha256: str = key(
        token_hash(),
        "",
        "The SHA-256 of the token that the program sends as its API key: `ai-client token` makes both.",
        secret=True,
    )
    uid: int | None = key(
        optional(integer(0, 2**32 - 2)), None, "The user that the program runs as, on the Unix socket."
    )
    models: tuple[str, ...] = key(models(), (), "The models that it may use; nothing: all.")
    requests_per_minute: int = key(QUOTA, 0, "Requests a minute; 0 for no limit of its own.")
    tokens_per_minute: int = key(QUOTA, 0, "Tokens a minute, in and out; 0 for no limit of its own.")
    budget_usd_per_day: Decimal | None = key(
        optional(money()), None, "What it may spend in a calendar day of this node; nothing: no bound.", unit="USD"
    )
    priority: int = key(_PRIORITY, 5, "Priority of its calls, from 1 (last) to 10 (first).")
    commit: str | None = key(optional(COMMIT), None, "When its streams begin to reach it; nothing: as [streams] says.")
    weight: int = key(integer(1, 1000), 1, "Its share, beside the other apps' weights, of quota that is short.")
    tag: str = key(optional_name(), "", "The label under which its cost is booked; nothing: its name.")
