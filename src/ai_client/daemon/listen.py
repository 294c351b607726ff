"""Where the daemon listens: `HOST:PORT`, `[IPv6]:PORT`, `https://HOST:PORT`, `unix:PATH`.

Loopback and Unix sockets carry plain HTTP: nothing of it leaves the machine. What other machines can reach speaks TLS
and asks every caller for a token, or is not opened at all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from ai_client.config.exposure import is_loopback
from ai_client.errors import ConfigurationError

_HTTPS: Final = "https://"


class Address(msgspec.Struct, frozen=True):
    """One listener: a Unix socket's path, or a host and a port; `https` where TLS was asked for in so many words."""

    host: str = ""
    port: int = 0
    path: Path | None = None
    https: bool = False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"{_HTTPS}{self.place}" if self.tls else self.place

    @property
    def place(self) -> str:
        """`HOST:PORT`, whatever is spoken there."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def tls(self) -> bool:
        """Does it speak TLS? It must where other machines can reach it."""
        return self.https or not self.local

    @property
    def local(self) -> bool:
        """Can only this node reach it?"""
        return self.path is not None or is_loopback(self.host)


def parse_address(text: str) -> Address:
    """Read one address. Raises `ConfigurationError` that says how they are written."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path:
            return Address(path=Path(path))
    else:
        host, colon, port = text.removeprefix(_HTTPS).rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if colon and host and port.isascii() and port.isdigit() and int(port) < 65536:
            return Address(host, int(port), https=text.startswith(_HTTPS))
    raise ConfigurationError([f"{text!r} is no address: write HOST:PORT, [IPv6]:PORT, https://HOST:PORT or unix:PATH"])


def cannot_listen(address: str, error: OSError) -> str:
    """What to say of an address that cannot be had: which, why, and what to do where that is known."""
    # asyncio's own words for a port hold a Python tuple; those for a Unix socket are ours or the system's
    plain = not address.startswith("unix:") and error.errno is not None and error.errno > 0
    why = os.strerror(error.errno or 0) if plain else error.strerror or str(error)
    hint = "; `ss -ltnp` tells who has it" if plain and error.errno == errno.EADDRINUSE else ""
    return f"cannot listen on {address}: {why}{hint}"


def check_exposure(addresses: Iterable[Address], *, tokens: bool, certificate: bool) -> None:
    """Raises `ConfigurationError` when anybody on the network could spend this node's keys, or read along."""
    problems: list[str] = []
    for address in addresses:
        if not address.local and not tokens:
            problems.append(
                f"{address} can be reached from other machines, and no [app NAME] with a token_sha256 is configured: "
                "listen on 127.0.0.1 or a Unix socket, or give every caller a token (ai-client token NAME)"
            )
        if address.tls and not certificate:
            problems.append(
                f"{address} speaks TLS, as all that other machines can reach, and there is no certificate: listen on "
                "127.0.0.1 or a Unix socket, or set [daemon] tls_cert and tls_key"
            )
    if problems:
        raise ConfigurationError(problems)


def check_metrics(host: str, *, public: bool) -> None:
    """Raises `ConfigurationError` when other machines could read the metrics and nobody has said that they may."""
    if not public and not Address(host).local:
        problem = (
            f"[monitoring] metrics_host = {host} can be reached from other machines, in plain HTTP and without a "
            "token: set metrics_public = true if all may read the names of apps and models and what they spend, or "
            "scrape /metrics of a TLS listener of [daemon] listen with the token of an app"
        )
        raise ConfigurationError([problem])
