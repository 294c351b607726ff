"""Where the daemon listens: `HOST:PORT`, `[IPv6]:PORT`, `unix:PATH`."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import msgspec

from ai_client.errors import ConfigurationError


class Address(msgspec.Struct, frozen=True):
    """One listener: a Unix socket's path, or a host and a port."""

    host: str = ""
    port: int = 0
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Can only this node reach it?"""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def parse_address(text: str) -> Address:
    """Read one address. Raises `ConfigurationError` that says how they are written."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if path:
            return Address(path=Path(path))
    else:
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if colon and host and port.isascii() and port.isdigit() and int(port) < 65536:
            return Address(host, int(port))
    raise ConfigurationError([f"cannot listen on {text!r}: write HOST:PORT, [IPv6]:PORT or unix:PATH"])


def check_exposure(addresses: list[Address], *, tokens: bool) -> None:
    """Raises `ConfigurationError` when anybody on the network could spend this node's keys unasked."""
    problems = [
        f"{address} can be reached from other machines, and no [app NAME] with a token_sha256 is configured: "
        "listen on 127.0.0.1 or a Unix socket, or give every caller a token"
        for address in addresses
        if not address.local and not tokens
    ]
    if problems:
        raise ConfigurationError(problems)
