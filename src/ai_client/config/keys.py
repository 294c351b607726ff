"""How a key is declared: as a dataclass field that carries its type, default, unit and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, TypeVar, cast

from ai_client.config.values import Kind

T = TypeVar("T")

_REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Key:
    """A declared key. `also` are other places where it is accepted, `inherits` the key whose value it has if unset."""

    name: str
    kind: Kind[Any]
    default: Any
    unit: str
    meaning: str
    secret: bool = False
    also: tuple[tuple[str, str], ...] = ()
    inherits: tuple[str, str] | None = None

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


def key(
    kind: Kind[T],
    default: T,
    meaning: str,
    *,
    unit: str = "",
    secret: bool = False,
    also: tuple[tuple[str, str], ...] = (),
) -> T:
    """Declare a key as a dataclass field. The type checker holds the attribute, the kind and the default together."""
    declared = Key("", kind, default, unit, meaning, secret, also)
    return field(default_factory=lambda: default, repr=not secret, metadata={"key": declared})


def required(kind: Kind[T], meaning: str) -> T:
    """Declare a key that its section must give."""
    return cast(T, field(metadata={"key": Key("", kind, _REQUIRED, "", meaning)}))


def inherited(section: str, owner: type, name: str) -> Any:
    """Declare a key that means what `[section] name` means, and takes its value from there unless it is given."""
    declared = replace(declarations(owner)[name], name="", also=(), inherits=(section, name))
    return field(repr=not declared.secret, metadata={"key": declared})


def declarations(owner: type) -> dict[str, Key]:
    """The keys that a section's class declares, by name, in order."""
    found = ((each.name, each.metadata.get("key")) for each in fields(owner))
    return {name: replace(declared, name=name) for name, declared in found if declared is not None}
