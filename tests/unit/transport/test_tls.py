"""Whom a client trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ai_client.transport.tls import client_context
from tests.wire import CERTIFICATES


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
