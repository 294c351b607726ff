"""Where the daemon listens, and whom that lets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.daemon.listen import Address, check_exposure, check_metrics, parse_address
from ai_client.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:8089", Address("127.0.0.1", 8089), True),
        ("localhost:0", Address("localhost", 0), True),
        ("[::1]:65535", Address("::1", 65_535), True),
        ("https://0.0.0.0:80", Address("0.0.0.0", 80, https=True), False),  # noqa: S104
        ("https://[::]:80", Address("::", 80, https=True), False),
        ("https://127.0.0.1:443", Address("127.0.0.1", 443, https=True), True),
        ("127.8.9.10:80", Address("127.8.9.10", 80), True),
        ("unix:/run/a:b", Address(path=Path("/run/a:b")), True),
    ],
)
def test_an_address_and_back(text: str, address: Address, local: bool) -> None:
    assert parse_address(text) == address
    assert str(address) == text
    assert address.local is local


@pytest.mark.parametrize("text", ["", "8089", ":8089", "a:", "a:b", "a:65536", "a:-1", "a:\u0661", "unix:", "[]:80"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write HOST:PORT"):
        parse_address(text)


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "localhost.example:80", "127.example:80"])
def test_what_other_machines_can_reach_speaks_tls_unasked(text: str) -> None:
    address = parse_address(text)
    assert not address.local
    assert address.tls
    assert str(address) == f"https://{text}"


def test_what_only_this_node_can_reach_speaks_it_where_it_is_asked_to() -> None:
    assert not parse_address("127.0.0.1:80").tls
    assert not parse_address("unix:/s").tls
    assert parse_address("https://127.0.0.1:80").tls


def problems(*texts: str, tokens: bool, certificate: bool) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        check_exposure(map(parse_address, texts), tokens=tokens, certificate=certificate)
    return [problem.partition(",")[0] for problem in caught.value.problems]


def test_every_exposed_address_is_named() -> None:
    texts = ("127.0.0.1:1", "0.0.0.0:2", "unix:/s", "[::]:3", "https://127.0.0.1:4")
    check_exposure(map(parse_address, texts), tokens=True, certificate=True)
    check_exposure(map(parse_address, ("127.0.0.1:1", "unix:/s")), tokens=False, certificate=False)
    reached = [f"https://{place} can be reached from other machines" for place in ("0.0.0.0:2", "[::]:3")]
    plain = [f"https://{place} speaks TLS" for place in ("0.0.0.0:2", "[::]:3", "127.0.0.1:4")]
    assert problems(*texts, tokens=False, certificate=True) == reached
    assert problems(*texts, tokens=True, certificate=False) == plain
    assert sorted(problems(*texts, tokens=False, certificate=False)) == sorted(reached + plain)


def test_metrics_are_for_this_node_unless_somebody_says_otherwise() -> None:
    check_metrics("127.0.0.1", public=False)
    check_metrics("0.0.0.0", public=True)  # noqa: S104
    with pytest.raises(ConfigurationError, match="set metrics_public = true"):
        check_metrics("0.0.0.0", public=False)  # noqa: S104
