"""Which targets may answer a call, in which order."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from ai_client.errors import UnknownModelError
from ai_client.model.call import Target
from ai_client.routing.complexity import QueryComplexity, classify

AUTO: Final = "auto"
DEFAULT: Final = "default"
_RESERVED: Final = frozenset({"", AUTO, DEFAULT})

Offer = tuple[str, Mapping[str, str] | None]
"""A provider's name with the models it serves: the names callers use, each with the name the provider knows.
None in their place is an open list: any name passes. A provider that lists some and takes any other makes two offers.
"""

Chain = tuple[Target, ...]

_MOST_NAMED: Final = 50
_MOST_SHOWN: Final = 100
_LONGEST: Final = 256  # characters of a name that passes though nobody configured it


class AutoModels(msgspec.Struct, frozen=True):
    """What `auto` stands for, by the complexity of the prompt."""

    simple: str
    moderate: str
    complex: str


class ModelTable:
    """Turns the model that a caller asked for into the targets to try. Never changes; a known name is one look-up.

    A call for a configured name that no provider serves is refused, and a fallback of that name never tried.
    """

    def __init__(
        self,
        offers: Sequence[Offer],
        *,
        default: str,
        aliases: Mapping[str, str] | None = None,
        fallback: Sequence[str] = (),
        larger: Mapping[str, str] | None = None,
        auto: AutoModels | None = None,
    ) -> None:
        """`offers` are in order of preference. `default`, `fallback`, the aliases' targets, the models of `auto` and
        those of `larger` (by the model that is too small) may be models, `provider/model` or aliases; `default` and
        aliases may stand for `auto`, too.

        Raises ValueError, with every mistake, for aliases that lead in a circle or bear a reserved name, and for `auto`
        where it cannot stand.
        """
        self._listed: dict[str, Chain] = {}
        self._qualified: dict[str, Target] = {}
        self._open: list[str] = []
        for provider, models in offers:
            self._enlist(provider, models)
        aliases = aliases or {}
        names = {**aliases, DEFAULT: default}
        certain = _certain(fallback, auto)
        _refuse([*_misnamed(aliases), *_circles(names), *(_misplaced_auto(names, certain) if auto else ())])
        self._names = {name: _follow(name, names) for name in names}
        self._names[""] = self._names[DEFAULT]
        self._fallback = tuple(target for name in fallback for target in self._serving(self._names.get(name, name)))
        self._larger = {
            self._names.get(small, small): self._serving(self._names.get(large, large))
            for small, large in (larger or {}).items()
        }
        self._auto: dict[QueryComplexity, str] = {}
        if auto is not None:
            self._auto = {each: str(getattr(auto, each.value)) for each in QueryComplexity}
        self._chains = self._known_chains()

    def decide(self, asked: str, text: str) -> Chain:
        """The targets of a call that asked for the model `asked`, in the order to try them, none twice.

        First the providers that serve it, then the targets of the fallback models. `text`, the last that the user said,
        is read for `auto` only. Raises `UnknownModelError` when nobody serves the model.
        """
        chain = self._chains.get(asked)
        if chain is not None:
            return chain
        name = self._names.get(asked, asked)
        if name == AUTO and self._auto:
            chosen = self._auto[classify(text)]
            name = self._names.get(chosen, chosen)
        chain = self._chains.get(name) or self._chain(name)
        if not chain:
            raise self._unknown(asked, name)
        return chain

    def larger(self, model: str) -> Chain:
        """The targets for a prompt that does not fit `model`; none where no larger one is configured."""
        return self._larger.get(model, ())

    def known(self) -> tuple[str, ...]:
        """Every name that may be asked for: the listed models, by provider; `auto`; the aliases.

        Besides these, each model is known as `provider/model`, and open lists take any name.
        """
        others = [AUTO] if self._auto else []
        return tuple(dict.fromkeys([*self._listed, *others, *(name for name in self._names if name not in _RESERVED)]))

    def models(self) -> Chain:
        """Every listed model once, at the provider that comes first for it: what `/v1/models` shows."""
        return tuple(targets[0] for targets in self._listed.values())

    # ---- building

    def _enlist(self, provider: str, models: Mapping[str, str] | None) -> None:
        if models is None:
            self._open.append(provider)
            return
        for model, upstream_model in models.items():
            target = Target(provider, model, upstream_model)
            if self._qualified.setdefault(target.name, target) is target:
                self._listed[model] = (*self._listed.get(model, ()), target)

    def _known_chains(self) -> dict[str, Chain]:
        """The chain of every name that has one whatever the text: as many as were configured, and never more."""
        plain = {name: name for name in (*self._listed, *self._qualified) if name not in _RESERVED}
        chains = {
            asked: self._chain(name) for asked, name in {**plain, **self._names}.items() if not self._is_auto(name)
        }
        return {asked: chain for asked, chain in chains.items() if chain}

    def _is_auto(self, name: str) -> bool:
        return name == AUTO and bool(self._auto)

    # ---- deciding

    def _serving(self, name: str) -> Chain:
        """The targets that serve `name`, which is no alias. A listing wins over what merely would pass."""
        listed = self._listed.get(name)
        if listed:
            return listed
        if name in self._qualified:
            return (self._qualified[name],)
        if len(name) > _LONGEST:  # kept by whoever learns of a target, and told in a header
            return ()
        provider, _, rest = name.partition("/")
        if rest and provider in self._open:
            return (Target(provider, rest, rest),)
        return tuple(Target(provider, name, name) for provider in self._open) if name else ()

    def _chain(self, name: str) -> Chain:
        serving = self._serving(name)
        return tuple(dict.fromkeys((*serving, *self._fallback))) if serving else ()

    # ---- refusing

    def _unknown(self, asked: str, name: str) -> UnknownModelError:
        known = self.known()
        shown = _short(asked)
        stands_for = f" (it stands for {_short(name)})" if name != asked else ""
        near = _nearest(asked, (*known, *self._qualified) if "/" in asked else known)
        meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
        listing = ", ".join(known[:_MOST_NAMED]) or "none"
        return UnknownModelError(
            f"no provider serves the model {shown}{stands_for}: {meant}known models: {listing}{more}", param="model"
        )


def _certain(fallback: Sequence[str], auto: AutoModels | None) -> list[tuple[str, str]]:
    """Names that have to be one model each, after what they are in the configuration."""
    named = [(f"the fallback model {place}", name) for place, name in enumerate(fallback, 1)]
    if auto is not None:
        named += ((f"the model for {each.value} prompts", getattr(auto, each.value)) for each in QueryComplexity)
    return named


def _misnamed(aliases: Mapping[str, str]) -> Iterable[str]:
    for alias in aliases:
        if alias in _RESERVED:
            yield f"an alias must not be called {alias!r}: the name is reserved"


def _circles(names: Mapping[str, str]) -> Iterable[str]:
    """Each circle of aliases once, as `'a' -> 'b' -> 'a'`."""
    found: set[tuple[str, ...]] = set()
    for start in names:
        path = [start]
        while (following := names.get(path[-1])) is not None and following not in path:
            path.append(following)
        if following is not None:
            circle = path[path.index(following) :]
            first = circle.index(min(circle))
            found.add((*circle[first:], *circle[:first]))
    for circle_found in sorted(found):
        yield "aliases lead in a circle: " + " -> ".join(map(repr, (*circle_found, circle_found[0])))


def _misplaced_auto(names: Mapping[str, str], certain: Iterable[tuple[str, str]]) -> Iterable[str]:
    for what, name in certain:
        if _follow(name, names) == AUTO:
            yield f"{what} is {name!r}, which is or stands for {AUTO!r}: name one certain model"


def _follow(name: str, names: Mapping[str, str]) -> str:
    """What a name stands for in the end. Bounded, so that it ends even where aliases lead in a circle."""
    for _ in names:
        name = names.get(name, name)
    return name


def _refuse(mistakes: Sequence[str]) -> None:
    if mistakes:
        raise ValueError("\n".join(mistakes))


def _nearest(asked: str, known: Iterable[str]) -> list[str]:
    folded = {name.lower(): name for name in known}
    return [folded[name] for name in difflib.get_close_matches(asked[:_MOST_SHOWN].lower(), folded)]


def _short(name: str) -> str:
    return repr(name if len(name) <= _MOST_SHOWN else f"{name[:_MOST_SHOWN]}...")
