"""Every kind of value: what it takes, what it refuses, and that it shows what it takes."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ai_client.config import values
from ai_client.config.sections import SECTIONS
from ai_client.config.values import Kind, ModelCost, mask_url, printed


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        *((values.boolean(), text, True) for text in ("true", "True", "YES", "on", "1")),
        *((values.boolean(), text, False) for text in ("false", "False", "no", "OFF", "0")),
        (values.integer(0, 10), "7", 7),
        (values.integer(-5, 10), "-5", -5),
        (values.number(0, 10), "7", 7.0),
        (values.number(0, 10), "0.5", 0.5),
        (values.money(), "2.50", Decimal("2.50")),
        (values.money(), "-0", Decimal(0)),
        (values.choice("json", "text"), "JSON", "json"),
        (values.choice("DEBUG", "INFO"), "info", "INFO"),
        (values.model(), "meta-llama/Llama-3.1-8B:free", "meta-llama/Llama-3.1-8B:free"),
        (values.models(), "", ()),
        (values.models(), "a, b ,c,", ("a", "b", "c")),
        (values.served_models(), "*", ("*",)),
        (values.served_models(), "a, b=org/b, *", ("a", "b=org/b", "*")),
        (values.aliases(), "", {}),
        (values.aliases(), "fast: a, cheap:org/b:free", {"fast": "a", "cheap": "org/b:free"}),
        (values.cost(), "8", ModelCost(Decimal(8), Decimal(8))),
        (values.cost(), "0.14/0.28", ModelCost(Decimal("0.14"), Decimal("0.28"))),
        (values.cost(), "0.14 / 0.28 / 0.014", ModelCost(Decimal("0.14"), Decimal("0.28"), Decimal("0.014"))),
        (values.base_url(), "https://h/v1/", "https://h/v1"),
        (values.base_url(), "http://[::1]:80/v1", "http://[::1]:80/v1"),
        (values.proxy_url(), "none", ""),
        (values.proxy_url(), "", ""),
        (values.proxy_url(), "http://u:p@h:3128/", "http://u:p@h:3128"),
        (values.redis_url(), "", ""),
        (values.redis_url(), "redis://h:6379/0", "redis://h:6379/0"),
        (values.redis_url(), "unix:///run/redis.sock", "unix:///run/redis.sock"),
        *((values.redis_url(), url, url) for url in ("redis+cluster://a:1,b:2", "rediss+sentinel://u:p@a:1,b:2/s")),
        (values.path(), "/a/b", Path("/a/b")),
        (values.optional(values.path()), "", None),
        (values.ledger(), "none", None),
        (values.ledger(), "", None),
        (values.ledger(), "/a", Path("/a")),
        (values.addresses(), "127.0.0.1:0, [::1]:80, unix:/run/x", ("127.0.0.1:0", "[::1]:80", "unix:/run/x")),
        (values.optional_name(), "", ""),
        (values.token_hash(), "AB" * 32, "ab" * 32),
        (values.token_hash(), "", ""),
    ],
)
def test_takes(kind: Kind[Any], text: str, value: Any) -> None:
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((values.boolean(), text) for text in ("", "2", "maybe")),
        *((values.integer(0, 10), text) for text in ("", "11", "-1", "1.0", "1_0", "٣", "9" * 5000, "0x1")),
        *((values.number(0, 10), text) for text in ("", "nan", "inf", "1e1", "10.1", ".5", "1 0")),
        *((values.money(), text) for text in ("", "-1", "$1", "NaN", "1e3")),
        (values.choice("a", "b"), "c"),
        *((values.model(), text) for text in ("", "a b", "a,b", "*", "a=b")),
        *((values.models(), text) for text in (",a", "a,,b", "a b", "*")),
        *((values.served_models(), text) for text in ("", "a, a", "a=b=c", "=b", "a=", "*=b", "a, a=b")),
        *((values.aliases(), text) for text in ("a", "a:", ":b", "a: b, a: c", "auto: b", "a b: c")),
        *((values.cost(), text) for text in ("", "/", "1/", "1/2/3/4", "-1", "free")),
        *(
            (values.base_url(), text)
            for text in (
                "",
                "api.example.com",
                "ftp://h",
                "https://",
                "https://u:p@h",
                "https://h?x",
                "https://h#x",
                "https://h:0",
                "https://h:99999",
                "https://h:x",
                "https://[::1",
                "https://h/a b",
                "https://hé",
                "https://-h",
            )
        ),
        *((values.proxy_url(), text) for text in ("https://h", "socks5://h", "http://h/path", "http://", "http://h?q")),
        *(
            (values.redis_url(), text)
            for text in ("h:6379", "http://h", "redis://", "unix://", "redis://h /0", "redis://a:1,b:2")
        ),
        (values.path(), "relative"),
        (values.ledger(), "relative"),
        *((values.addresses(), text) for text in ("", "8089", "h:99999", "unix:x", "h:1, h:1", "h:1,,i:2", "::1:80")),
        *((values.name(), text) for text in ("", "-a", "a b", "a" * 64)),
        *((values.token_hash(), text) for text in ("ab" * 31, "xy" * 32)),
        *((values.secret(), text) for text in ("a b", "a\tb", "é", "x" * 4097)),
    ],
)
def test_refuses(kind: Kind[Any], text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text of the mistake is the kind's `allowed`
        kind.parse(text)


def test_every_default_is_allowed_and_shown_as_it_would_be_written() -> None:
    for section in SECTIONS.values():
        for key in section.keys.values():
            if not key.required and not key.inherits:
                assert key.kind.parse(key.kind.show(key.default)) == key.default, (section.name, key.name)


@pytest.mark.parametrize("text", ["8", "0.14/0.28", "0.14/0.28/0.014", "1/1/0"])
def test_a_price_is_shown_as_written(text: str) -> None:
    kind = values.cost()
    assert kind.show(kind.parse(text)) == text


def test_numbers_are_shown_short() -> None:
    assert [values.number(0, 10**9).show(value) for value in (30.0, 0.5, 1e6)] == ["30", "0.5", "1000000"]


def test_the_automatic_ledger_is_a_file_only_where_it_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(values, "LEDGER", tmp_path / "ledger.db")
    assert values.ledger().parse("auto") == tmp_path / "ledger.db"
    monkeypatch.setattr(values, "LEDGER", tmp_path / "missing" / "ledger.db")
    assert values.ledger().parse("auto") is None


def test_passwords_in_urls_are_masked() -> None:
    assert mask_url("http://user:p@ss@proxy:3128") == "http://********@proxy:3128"
    assert mask_url("redis://h/0?password=x&a=1") == "redis://h/0?password=********&a=1"
    assert mask_url("http://proxy:3128") == "http://proxy:3128"


def test_what_was_given_is_printed_safely() -> None:
    assert printed("a\x1b[31mb") == "a\\x1b[31mb"
    assert printed("hs_live_0123456789") == "hs_********"
    assert printed("x" * 100) == "x" * 80 + "…"
