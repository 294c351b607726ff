"""Whom a client trusts, and what a server shows."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from ai_client.errors import ConfigurationError
from ai_client.transport.server import Server
from ai_client.transport.tls import Certificate, client_context
from tests.running import Run
from tests.wire import CERTIFICATES, echo, until


def test_by_default_the_system_decides() -> None:
    context = client_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_bundle_replaces_the_system() -> None:
    context = client_context(ca_bundle=CERTIFICATES / "ca.pem")
    (authority,) = context.get_ca_certs()
    assert (("commonName", "ai-client test authority"),) in authority["subject"]


def test_verification_can_be_turned_off() -> None:
    context = client_context(verify=False)
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


def test_a_bundle_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client_context(ca_bundle=tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        client_context(ca_bundle=tmp_path / "empty.pem")


@pytest.mark.parametrize(
    ("certificate", "key", "says"),
    [
        ("none.pem", None, "No such file"),
        ("ca.pem", None, "PEM"),  # a certificate, and no key with it
        ("server.pem", "renewed.pem", "KEY_VALUES_MISMATCH"),
        ("server.pem", "README.md", "PEM"),
        ("server.pem", "locked-key.pem", "the key has a password"),
    ],
)
def test_a_certificate_that_cannot_be_shown(certificate: str, key: str | None, says: str) -> None:
    place = CERTIFICATES / certificate
    with pytest.raises(ConfigurationError, match=says) as caught:
        Certificate(place, CERTIFICATES / key if key else None)
    assert str(place) in str(caught.value)


def test_our_own_listeners_speak_tls_12_or_newer() -> None:
    assert Certificate(CERTIFICATES / "server.pem", None).context.minimum_version is ssl.TLSVersion.TLSv1_2


async def shown(port: int, name: str, version: ssl.TLSVersion) -> str:
    """The common name of the certificate that a client is shown."""
    context = client_context(ca_bundle=CERTIFICATES / "ca.pem")
    context.minimum_version = context.maximum_version = version
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    subject = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return str(subject["commonName"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])  # the second names no host in its handshake
def test_a_certificate_changes_under_an_open_listener(run: Run, name: str, version: ssl.TLSVersion) -> None:
    async def scene() -> None:
        certificate = Certificate(CERTIFICATES / "server.pem", None)
        server = Server(echo)
        _, port = await server.listen_tcp("127.0.0.1", 0, certificate.context)
        assert await shown(port, name, version) == "localhost"
        certificate.adopt(Certificate(CERTIFICATES / "renewed.pem", None))
        assert await shown(port, name, version) == "renewed"
        certificate.adopt(Certificate(CERTIFICATES / "server.pem", None))
        assert await shown(port, name, version) == "localhost"
        server.close()
        await until(lambda: not server.connections)

    run(scene())
