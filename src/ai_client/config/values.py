"""How each type of value is written in the configuration: its parser, what it allows in words, and how it is shown.

A parser takes the text as it stands, without the white space around it, and raises ValueError when the text is not
of the type; the reader of the message gets the kind's `allowed`. Parsers do no I/O, but for `ledger` (see there).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from ai_client.config.secrets import KEY_SHAPE, MASK, Secret, parse_secret

T = TypeVar("T")

_NUMBER: Final = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_ADDRESS: Final = re.compile(
    r"(https://)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):(?P<port>\d{1,5})", re.ASCII
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_SHA256: Final = re.compile(r"([0-9A-Fa-f]{64})?")
_MODEL: Final = re.compile(r"[^\s,=*]+")
_REDIS: Final = re.compile(
    r"unix:///\S+|rediss?://(\S*@)?[\w.:\[\]-]+(/\d*)?(\?\S*)?"
    r"|rediss?\+cluster://(\S*@)?[\w.:,\[\]-]+(/\d*)?|rediss?\+sentinel://(\S*@)?[\w.:,\[\]-]+(/[\w.-]+)?"
)
_USERINFO: Final = re.compile(r"//\S*@")
_PASSWORD: Final = re.compile(r"([?&]password=)[^&\s]*")
_KEY_LIKE: Final = re.compile(r"\b(hs_|sk-|rk-)[\w-]{4,}")
_BOOLEANS: Final = MappingProxyType(
    {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
)
HIDDEN: Final = "(hidden)"
_SHOWN: Final = 80
_LAST_PORT: Final = 65_535
LEDGER: Final = Path("/var/lib/ai-client/ledger.db")


class Kind(msgspec.Struct, Generic[T], frozen=True):
    """One type of value. `allowed` completes the sentence "expected …"; `choices` are the words to suggest from."""

    name: str
    allowed: str
    parse: Callable[[str], T]
    show: Callable[[T], str] = str
    choices: tuple[str, ...] = ()


class ModelCost(msgspec.Struct, frozen=True):
    """Prices of models, in USD per 1,000,000 tokens.

    `cached_input` is None when the prompt tokens that the provider had in its cache cost as the others do.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None


def printed(text: str) -> str:
    """What was given, fit for a message: short, on one line, without passwords or anything like an API key."""
    text = _KEY_LIKE.sub(rf"\1{MASK}", mask_url(text))
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text


def mask_url(url: str) -> str:
    """The URL with the user and password before its host, or a password in its query, replaced by `********`."""
    return _PASSWORD.sub(rf"\1{MASK}", _USERINFO.sub(f"//{MASK}@", url))


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind, where an empty value stands for "unset"."""
    return Kind(
        kind.name,
        f"{kind.allowed}, or nothing",
        lambda text: kind.parse(text) if text else None,
        lambda value: "" if value is None else kind.show(value),
        kind.choices,
    )


def boolean() -> Kind[bool]:
    """true/false, yes/no, on/off, 1/0, in any case: Jinja renders True and False."""

    def parse(text: str) -> bool:
        try:
            return _BOOLEANS[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    return Kind("boolean", "true or false (or yes/no, on/off, 1/0)", parse, lambda value: str(value).lower())


def integer(low: int, high: int) -> Kind[int]:
    """A whole number from `low` to `high`, both allowed."""

    def parse(text: str) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return Kind("integer", f"a whole number from {low} to {high}", parse)


def number(low: float, high: float) -> Kind[float]:
    """A decimal number from `low` to `high`, both allowed."""

    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
            raise ValueError(text)
        return float(text)

    return Kind("number", f"a number from {_short(low)} to {_short(high)}", parse, _short)


def money() -> Kind[Decimal]:
    """An amount of USD, never negative, kept exactly."""

    def parse(text: str) -> Decimal:
        if not _NUMBER.fullmatch(text) or (amount := Decimal(text)) < 0:
            raise ValueError(text)
        return abs(amount)

    return Kind("decimal", "an amount of USD, 0 or more", parse)


def choice(*words: str) -> Kind[str]:
    """One of a few words, in any case; the value is the word as it is written here."""

    def parse(text: str) -> str:
        for word in words:
            if text.lower() == word.lower():
                return word
        raise ValueError(text)

    head, last = ", ".join(words[:-1]), words[-1]
    return Kind("choice", f"{head} or {last}" if head else last, parse, choices=words)


def pattern(name: str, allowed: str, regex: str) -> Kind[str]:
    """Text that matches `regex` as a whole; `allowed` says the same in words."""
    compiled = re.compile(regex)

    def parse(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(text)
        return text

    return Kind(name, allowed, parse)


def name() -> Kind[str]:
    """A name for a provider, an app, a node: safe in file names, metrics and headers."""
    return pattern("name", "letters, digits, dots, dashes and underscores, at most 63", _NAME.pattern)


def optional_name() -> Kind[str]:
    """A name, or nothing."""
    return pattern("name", f"{name().allowed}, or nothing", f"({_NAME.pattern})?")


def is_name(text: str) -> bool:
    """Whether a provider or an app may be called this."""
    return _NAME.fullmatch(text) is not None


def is_model(text: str) -> bool:
    """Whether a model may be called this."""
    return _MODEL.fullmatch(text) is not None


def model() -> Kind[str]:
    """The name of a model, exactly as its provider writes it."""
    return pattern("model", "a model's name, without spaces, commas, = or *", _MODEL.pattern)


def models() -> Kind[tuple[str, ...]]:
    """Names of models separated by commas; empty for none."""
    return several("list of models", "names of models separated by commas, or nothing", model())


def several(name: str, allowed: str, one: Kind[str]) -> Kind[tuple[str, ...]]:
    """Items separated by commas, each of a kind; empty for none. `allowed` says the same in words."""
    return Kind(name, allowed, lambda text: tuple(map(one.parse, listed(text))), ", ".join)


def names() -> Kind[tuple[str, ...]]:
    """What a limit is for: names of any kind separated by commas, or `*` alone."""

    def parse(text: str) -> tuple[str, ...]:
        items = listed(text)
        if not items or len(set(items)) != len(items) or ("*" in items and len(items) > 1):
            raise ValueError(text)
        return items

    return Kind("list of names", "names separated by commas, each once, or `*`", parse, ", ".join)


def served_models() -> Kind[tuple[str, ...]]:
    """What a provider serves: names, `local=upstream` where the provider knows the model by another name, `*` for any.

    The value holds the items as written; `local_name` and `renames` of the schema take them apart.
    """

    def parse(text: str) -> tuple[str, ...]:
        items = listed(text)
        names = [item.partition("=")[0].strip() for item in items]
        well_formed = all(
            item == "*" or all(_MODEL.fullmatch(part.strip()) for part in item.split("=", 1)) for item in items
        )
        if not items or not well_formed or len(set(names)) != len(names):
            raise ValueError(text)
        return items

    return Kind(
        "list of models",
        "names of models separated by commas, each once; `local=upstream` renames; `*` stands for any other name",
        parse,
        ", ".join,
    )


def aliases() -> Kind[Mapping[str, str]]:
    """`alias: model` pairs separated by commas. The first colon separates: a model's name may hold more."""

    def parse(text: str) -> Mapping[str, str]:
        pairs: dict[str, str] = {}
        for item in listed(text):
            alias, colon, target = (part.strip() for part in item.partition(":"))
            taken = alias in {"auto", "default", *pairs}
            if taken or not colon or not _MODEL.fullmatch(alias) or not _MODEL.fullmatch(target):
                raise ValueError(text)
            pairs[alias] = target
        return MappingProxyType(pairs)

    return Kind(
        "list of aliases",
        "`name: model` pairs separated by commas, each name once and none of them `auto` or `default`, or nothing",
        parse,
        lambda pairs: ", ".join(f"{alias}: {target}" for alias, target in pairs.items()),
    )


def cost() -> Kind[ModelCost]:
    """Prices of a model: `both`, `input/output` or `input/output/cached input`."""

    def parse(text: str) -> ModelCost:
        match [money().parse(part.strip()) for part in text.split("/")]:
            case [both]:
                return ModelCost(both, both)
            case [prompt, answer]:
                return ModelCost(prompt, answer)
            case [prompt, answer, cached]:
                return ModelCost(prompt, answer, cached)
            case _:
                raise ValueError(text)

    def show(value: ModelCost) -> str:
        if value.cached_input is not None:
            return f"{value.input}/{value.output}/{value.cached_input}"
        return str(value.input) if value.input == value.output else f"{value.input}/{value.output}"

    return Kind("price", "prices of 0 or more: `8`, `0.14/0.28` or `0.14/0.28/0.014`", parse, show)


def base_url() -> Kind[str]:
    """Where a provider's API begins. The value has no slash at its end."""

    def parse(text: str) -> str:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or "@" in parts.netloc or not _is_plain(text) or not _has_host(text):
            raise ValueError(text)
        return text.rstrip("/")

    return Kind("URL", "an http:// or https:// URL without user, query or fragment", parse)


def proxy_url() -> Kind[str]:
    """An HTTP proxy that takes CONNECT (RFC 9110, 9.3.6); empty or `none` for none. Shown without password."""

    def parse(text: str) -> str:
        if text in ("", "none"):
            return ""
        parts = urlsplit(text)
        if parts.scheme != "http" or parts.path not in ("", "/") or not _is_plain(text) or not _has_host(text):
            raise ValueError(text)
        return text.rstrip("/")

    return Kind("URL", "http://host:port or http://user:password@host:port, or none", parse, mask_url)


def redis_url() -> Kind[str]:
    """A Redis or Valkey server, a cluster, or one that Sentinels watch; empty for none. Shown without password."""

    def parse(text: str) -> str:
        if text and (_REDIS.fullmatch(text) is None or not text.isascii()):
            raise ValueError(text)
        return text

    allowed = "redis://HOST:PORT/0, unix:///PATH, redis+cluster://HOST:PORT,… or redis+sentinel://HOST:PORT,…/SERVICE"
    return Kind("URL", f"{allowed} (rediss for TLS), or nothing", parse, mask_url)


def token_hash() -> Kind[str]:
    """The SHA-256 of a token in hexadecimal, lower case, or nothing. Never shown."""

    def parse(text: str) -> str:
        if not _SHA256.fullmatch(text):
            raise ValueError(text)
        return text.lower()

    allowed = "64 hexadecimal digits, or nothing"
    return Kind("SHA-256", allowed, parse, lambda text: MASK if text else "")


def path() -> Kind[Path]:
    """An absolute path: what a relative one means would hang on where the program was started."""

    def parse(text: str) -> Path:
        if not text.startswith("/"):
            raise ValueError(text)
        return Path(text)

    return Kind("path", "an absolute path", parse)


def ledger() -> Kind[Path | None]:
    """A file for the ledger; `none` (or nothing) for memory only; `auto` for the usual place when it is writable."""

    def parse(text: str) -> Path | None:
        if text == "auto":
            return LEDGER if os.access(LEDGER.parent, os.W_OK) else None
        return None if text in ("", "none") else path().parse(text)

    return Kind(
        "path",
        f"an absolute path, `auto` ({LEDGER} when its directory is writable, otherwise none) or none",
        parse,
        lambda value: "none" if value is None else str(value),
    )


def addresses() -> Kind[tuple[str, ...]]:
    """Addresses to listen on; `https://` asks for TLS on loopback, where it is no must. Port 0 takes any free one."""

    def parse(text: str) -> tuple[str, ...]:
        items = listed(text)
        for item in items:
            found = _ADDRESS.fullmatch(item)
            if not item.startswith("unix:/") and (found is None or int(found["port"]) > _LAST_PORT):
                raise ValueError(item)
        if not items or len(set(items)) != len(items):
            raise ValueError(text)
        return items

    allowed = "HOST:PORT, [IPV6]:PORT, https://HOST:PORT or unix:/path, separated by commas"
    return Kind("list of addresses", allowed, parse, ", ".join)


def secret() -> Kind[Secret | None]:
    """An API key. Never shown."""
    return optional(Kind("secret", KEY_SHAPE, parse_secret))


def listed(text: str) -> tuple[str, ...]:
    """The parts between commas. A comma at the end is forgiven; an empty part elsewhere is the caller's to refuse."""
    parts = tuple(part.strip() for part in text.split(","))
    return parts[:-1] if not parts[-1] else parts


def _is_plain(url: str) -> bool:
    return url.isascii() and not any(char.isspace() or char in "?#\\" for char in url)


def _has_host(url: str) -> bool:
    """Whether the URL names a host and, if any, a real port. Raises ValueError where urlsplit does."""
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
    return host is not None and port != 0 and (":" in host or _HOST.fullmatch(host) is not None)


def _short(value: float) -> str:
    """A number without needless zeros: 30 for 30.0."""
    return str(int(value)) if value == int(value) else repr(value)
