"""How keys are declared."""

from __future__ import annotations

import pytest

from ai_client.config.keys import Keyed, declarations, inherited, key, required
from ai_client.config.values import integer, redis_url


class Store(Keyed, frozen=True, kw_only=True):
    """A section."""

    name: str
    url: str = key(redis_url(), "", "Where it is.", secret=True)
    size: int = key(integer(1, 9), 3, "How large it is.")


class Copy(Keyed, frozen=True, kw_only=True):
    """A section with a key that must be given and one that another gives."""

    age: int = required(integer(0, 9), "How old it is.")
    size: int = inherited("store", Store, "size")


def test_a_section_has_the_defaults_of_its_keys() -> None:
    assert Store(name="here").size == 3
    assert list(declarations(Store)) == ["url", "size"]
    assert declarations(Store)["size"].default_text == "3"


def test_a_key_without_a_default_has_to_be_given() -> None:
    with pytest.raises(TypeError, match="How old it is"):
        Copy(size=1)
    with pytest.raises(TypeError, match="How large it is"):
        Copy(age=1)
    assert declarations(Copy)["age"].default_text == "required"
    assert declarations(Copy)["size"].default_text == "as [store] size"


def test_a_section_that_is_printed_keeps_its_secrets() -> None:
    shown = repr(Store(name="here", url="redis://:hunter2@host/0"))

    assert shown == "Store(name='here', size=3)"


def test_a_section_never_changes() -> None:
    with pytest.raises(AttributeError):
        Store(name="here").size = 4  # type: ignore[misc]
