"""Who can reach the daemon's listeners, and the certificate of those that other machines can reach."""

from __future__ import annotations

import ipaddress
import stat
from pathlib import Path
from typing import Final

from ai_client.config.assemble import Values
from ai_client.config.layers import Findings
from ai_client.config.secrets import readable_by_others
from ai_client.config.snapshot import Config
from ai_client.config.values import printed

_LARGEST: Final = 16 * 1024**2
_FILES: Final = (
    ("tls_cert", b"-----BEGIN CERTIFICATE-----", "a certificate"),
    ("tls_key", b"PRIVATE KEY-----", "a key"),
)


def speaks_tls(address: str) -> bool:
    """Whether an address to listen on is served with TLS: asked for by `https://`, or within other machines' reach."""
    if address.startswith(("unix:", "https://")):
        return not address.startswith("unix:")
    return not is_loopback(address.rpartition(":")[0].strip("[]"))


def is_loopback(host: str) -> bool:
    """Whether nothing that is sent to this host leaves the machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_tls(values: Values, findings: Findings) -> None:
    """The files of the listeners' certificate. That they may not be read is for the daemon alone to mind.

    Programs of other users read this configuration too, to know where the daemon is.
    """
    for key, mark, noun in _FILES:
        given = values.get("daemon", key)
        if given is None or given.value is None:
            continue
        fault = _pem_fault(given.value, mark, noun)
        if fault is not None:
            findings.refuse_value(given.origin, "daemon", key, printed(str(given.value)), fault)
        elif key == "tls_key" and readable_by_others(given.value):
            findings.warn(f"{given.origin.text}: {given.value} holds a key and anybody may read it: chmod o-r")
    given = values.get("daemon", "tls_key")
    if given is not None and given.value is not None and values.get("daemon", "tls_cert") is None:
        findings.refuse_value(given.origin, "daemon", "tls_key", printed(str(given.value)), "tls_cert is missing")


def _pem_fault(path: Path, mark: bytes, noun: str) -> str | None:
    """Why this file does not hold what it should, None when it does, or when this process may not look."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "expected a file"
        with path.open("rb") as file:
            content = file.read(_LARGEST)
    except PermissionError:
        return None
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if mark in content else f"expected {noun} in PEM form; there is none in it"


def doubt_exposure(config: Config, findings: Findings) -> None:
    """Addresses that the daemon will not open.

    It decides at its start, when it may be told of other addresses and be handed a certificate.
    """
    tokens = any(app.token_sha256 for app in config.apps.values())
    for address in filter(speaks_tls, config.daemon.listen):
        asked = address.startswith("https://") and is_loopback(address[8:].rpartition(":")[0].strip("[]"))
        lacking = [] if tokens or asked else ["a token for every [app NAME]"]
        if config.daemon.tls_cert is None:
            lacking.append("tls_cert and tls_key")
        if lacking:
            findings.warn(f"[daemon] listen = {address}: the daemon will not open it without {' and '.join(lacking)}")
    host = config.monitoring.metrics_host
    if not config.monitoring.metrics_public and not is_loopback(host):
        findings.warn(f"[monitoring] metrics_host = {host}: the daemon will not open it without metrics_public = true")
