"""TLS towards providers."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_context(*, verify: bool = True, ca_bundle: Path | None = None) -> ssl.SSLContext:
    """A client's TLS context: TLS 1.2 or newer, the system's certificates or those of `ca_bundle`.

    `verify=False` accepts any certificate; the configuration says so loudly. Raises OSError or ssl.SSLError when
    the bundle cannot be read.
    """
    context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
    context.set_alpn_protocols(["http/1.1"])
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
