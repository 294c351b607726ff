"""TLS: towards providers, and of our own listeners."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

from ai_client.errors import ConfigurationError

_PROTOCOLS: Final = ("http/1.1",)


def client_context(*, verify: bool = True, ca_bundle: Path | None = None) -> ssl.SSLContext:
    """A client's TLS context: TLS 1.2 or newer, the system's certificates or those of `ca_bundle`.

    `verify=False` accepts any certificate; the configuration says so loudly. Raises OSError or ssl.SSLError when
    the bundle cannot be read.
    """
    context = ssl.create_default_context(cafile=str(ca_bundle) if ca_bundle else None)
    context.set_alpn_protocols(_PROTOCOLS)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Certificate:
    """The certificate that our listeners show, read from its files; `adopt` changes it while they stay open.

    Connections made before keep what they were shown. TLS 1.2 or newer.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        """PEM files: the certificate with its chain, and its key, which may stand in the first file (`key` None).

        Raises `ConfigurationError` when they cannot be read, are not what they should be, or do not belong together.
        """
        self.context = self._shown = _server_context(certificate, key)
        self.context.sni_callback = self._choose

    def adopt(self, newer: Certificate) -> None:
        """From the next handshake on, show what `newer` read."""
        self._shown = newer.context

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL asks this in every handshake, whether or not the client names a host."""
        connection.context = self._shown


def _server_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_PROTOCOLS)
    place = f"tls_cert {certificate}" if key is None else f"tls_cert {certificate} with tls_key {key}"
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise ConfigurationError([f"{place} cannot be used: {reason}"]) from None
    return context


def _no_password() -> str:
    """Without this, OpenSSL would ask on the terminal, and a service has none."""
    raise ValueError("the key has a password: a service has nobody to ask for it, so store it without")
