"""Secrets: a value that does not print itself, and the places where an API key may come from.

Sources of a provider's key, the first that has one wins:

1. the systemd credential `$CREDENTIALS_DIRECTORY/ai-client-api-key` (`…-NAME` for `[provider NAME]`,
   `…-PROVIDER.NAME` for `[key NAME]`), systemd.exec(5);
2. the file named by `api_key_file`;
3. the environment: `AI_CLIENT_API__API_KEY` or, for the provider holysheep, `HOLYSHEEP_API_KEY`
   (`AI_CLIENT_PROVIDER_NAME__API_KEY` for `[provider NAME]`, `AI_CLIENT_KEY_NAME__API_KEY` for `[key NAME]`);
4. `api_key` in the configuration file.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MASK: Final = "********"
KEY_SHAPE: Final = "one word of printable ASCII, at most 4096 characters"
CREDENTIAL: Final = "ai-client-api-key"
TLS_CREDENTIALS: Final = (("tls_cert", "ai-client-tls-cert"), ("tls_key", "ai-client-tls-key"))
"""Keys of [daemon] whose files systemd may hand over, and the names of the credentials."""
_LONGEST: Final = 4096


class BarredError(ValueError):
    """A key's file is for others: this process may not read it."""


class Secret:
    """Text that shows itself as `********` wherever it is printed, logged or formatted.

    `reveal()` gives the text itself: call it only where the secret is put on the wire.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return self._text == other._text

    def __hash__(self) -> int:
        return hash(("Secret", self._text))


def parse_secret(text: str) -> Secret:
    """Make a key of `text`. Raises ValueError, without repeating the text, when it cannot travel in an HTTP header."""
    if not 0 < len(text) <= _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(KEY_SHAPE)
    return Secret(text)


def credential_file(name: str, environ: Mapping[str, str]) -> Path | None:
    """The file of a systemd credential (systemd.exec(5), LoadCredential=), None when there is none of this name.

    One that may not be looked at counts as there, so that reading it says what is wrong.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return None
    path = Path(directory) / name
    try:
        path.stat()
    except FileNotFoundError:
        return None
    except OSError:
        return path
    return path


def read_key_file(path: Path) -> Secret:
    """Read a key from a small regular file; white space around it does not count.

    Raises ValueError saying why the file cannot be used, `BarredError` when only others may read it; the text never
    repeats the file's content.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("not a regular file")
        with path.open("rb") as file:
            content = file.read(_LONGEST + 2)
    except PermissionError as error:
        raise BarredError(f"cannot be read: {error.strerror}") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    try:
        return parse_secret(content.decode("ascii").strip())
    except ValueError:
        raise ValueError(f"does not hold a key: expected {KEY_SHAPE}") from None


def readable_by_others(path: Path) -> bool:
    """Whether any user of the machine may read this file, as its permission bits say."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False
