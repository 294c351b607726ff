"""Where the daemon listens, and whom that lets in."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_client.daemon.listen import Address, check_exposure, parse_address
from ai_client.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "address", "local"),
    [
        ("127.0.0.1:8089", Address("127.0.0.1", 8089), True),
        ("localhost:0", Address("localhost", 0), True),
        ("[::1]:65535", Address("::1", 65_535), True),
        ("0.0.0.0:80", Address("0.0.0.0", 80), False),  # noqa: S104
        ("[::]:80", Address("::", 80), False),
        ("127.8.9.10:80", Address("127.8.9.10", 80), True),
        ("localhost.example:80", Address("localhost.example", 80), False),
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


def test_every_exposed_address_is_named() -> None:
    addresses = [parse_address(text) for text in ("127.0.0.1:1", "0.0.0.0:2", "unix:/s", "[::]:3")]
    check_exposure(addresses, tokens=True)
    with pytest.raises(ConfigurationError) as caught:
        check_exposure(addresses, tokens=False)
    assert [problem.partition(" ")[0] for problem in caught.value.problems] == ["0.0.0.0:2", "[::]:3"]
