"""How a key is declared: as a field whose default is made by what carries its type, default, unit and meaning.

Sections are structs of msgspec: to make a class of dataclasses takes a hundred times as long, and every start of the
program would make two dozen.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import structs

from ai_client.config.values import Kind

T = TypeVar("T")

_REQUIRED: Final = object()


class Key(msgspec.Struct, frozen=True):
    """A declared key. `also` are other places where it is accepted, `inherits` the key whose value it has if unset."""

    name: str
    kind: Kind[Any]
    default: Any
    unit: str
    meaning: str
    secret: bool = False
    also: tuple[tuple[str, str], ...] = ()
    inherits: tuple[str, str] | None = None

    def __call__(self) -> Any:
        """The default, for a section that is made without a value. Raises TypeError where there is none."""
        if self.required or self.inherits is not None:
            raise TypeError(f"the section needs a value for this key: {self.meaning}")
        return self.default

    @property
    def required(self) -> bool:
        """Whether its section is incomplete without it."""
        return self.default is _REQUIRED

    @property
    def expected(self) -> str:
        """What a value must be, in words that follow "expected"."""
        return f"{self.kind.allowed} ({self.unit})" if self.unit else self.kind.allowed

    @property
    def default_text(self) -> str:
        """The default as a file would give it, or in words where there is none to give."""
        if self.inherits is not None:
            return "as [{}] {}".format(*self.inherits)
        return "required" if self.required else self.kind.show(self.default)


class Keyed(msgspec.Struct, frozen=True, kw_only=True):
    """A section's class: those of its fields that are keys are declared by the functions below."""

    def __repr__(self) -> str:
        keys = declarations(type(self))
        shown = [name for name in self.__struct_fields__ if name not in keys or not keys[name].secret]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def key(
    kind: Kind[T],
    default: T,
    meaning: str,
    *,
    unit: str = "",
    secret: bool = False,
    also: tuple[tuple[str, str], ...] = (),
) -> T:
    """Declare a key as a field. The type checker holds the attribute, the kind and the default together."""
    return cast(T, msgspec.field(default_factory=Key("", kind, default, unit, meaning, secret, also)))


def required(kind: Kind[T], meaning: str) -> T:
    """Declare a key that its section must give."""
    return cast(T, msgspec.field(default_factory=Key("", kind, _REQUIRED, "", meaning)))


def inherited(section: str, owner: type[Keyed], name: str) -> Any:
    """Declare a key that means what `[section] name` means, and takes its value from there unless it is given."""
    declared = declarations(owner)[name]
    return msgspec.field(default_factory=structs.replace(declared, name="", also=(), inherits=(section, name)))


def declarations(owner: type[Keyed]) -> dict[str, Key]:
    """The keys that a section's class declares, by name, in order."""
    defaults = owner.__struct_defaults__  # of the last fields
    pairs = zip(owner.__struct_fields__[-len(defaults) :], defaults, strict=True)
    found = ((name, getattr(default, "factory", None)) for name, default in pairs)
    return {name: structs.replace(declared, name=name) for name, declared in found if isinstance(declared, Key)}
