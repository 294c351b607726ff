"""Keeps to what providers say of their own limits: they clamp what is configured, and teach what is not.

A provider that names a smaller limit than is configured, or one that is not configured, gets a limit of that amount
beside the configured one. It is the key's while all models of the provider are told the same; where they are told
different limits, or where one has more left than another could have by then, each model has its own. What is said to be
left lowers what may be spent, since others may spend from the same key; it never raises it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from ai_client.clock import Clock
from ai_client.limits.base import MINUTE_NS, SECOND_NS, Kind, Settings, rate
from ai_client.limits.gate import Gate
from ai_client.limits.word import read
from ai_client.model.call import Target

KEPT_NS: Final = 3600 * SECOND_NS
"""A word that was not said again for so long is forgotten."""

_PACE_NS: Final = 100_000_000  # a target's answers are looked at so often, and no oftener: that costs a call nothing
_MOST_TARGETS: Final = 1000  # whose names may come from callers: beyond, all is heard anew
_SLACK: Final = 10  # a tenth of a limit: what is given back to it may look like somebody else's


class Word(msgspec.Struct):
    """What one target was told: limits by the minute, what remained of them, and when that was."""

    limits: dict[Kind, int]
    remaining: dict[Kind, int]
    heard_ns: int


class Change(msgspec.Struct, frozen=True):
    """A provider's limit took effect, or no longer does (`told` 0). `configured` is 0 where there is none."""

    name: str
    kind: Kind
    told: int
    configured: int


class Heed:
    """The limits that providers taught. `gates` is empty while they add nothing to what is configured."""

    def __init__(
        self,
        clock: Clock,
        providers: Mapping[str, Gate],
        make: Callable[[str, Settings], Gate],
        on_change: Callable[[Change], None],
    ) -> None:
        """`providers` are the configured limits; `make(id, settings)` makes one beside them."""
        self._clock = clock
        self._providers = providers
        self._make = make
        self._on_change = on_change
        self._next: dict[str, int] = {}
        self._apart: dict[str, int] = {}  # until when a provider's models are known to have limits of their own
        self._ids: dict[str, str] = {}
        self.words: dict[str, dict[str, Word]] = {}
        self.gates: dict[str, Gate] = {}
        self.burst_seconds = 1.0

    @property
    def names(self) -> list[str]:
        """Every provider, or key of one, that is configured."""
        return list(self._providers)

    def find(self, target: Target) -> Gate | None:
        """The limit that a provider taught for this target, beside the configured ones."""
        return self.gates.get(target.name) or self.gates.get(target.key)

    def due(self, target: Target) -> bool:
        """Is it worth looking at an answer's headers? On the way of every call."""
        return self._clock.monotonic_ns() >= self._next.get(target.name, 0)

    def hear(self, target: Target, headers: Sequence[tuple[bytes, bytes]], sent_ns: int) -> None:
        """An answer came, to what was sent at `sent_ns` or later. Without a model it is of no limit known here."""
        if not target.model or not self.due(target):
            return
        now = self._clock.monotonic_ns()
        if len(self._next) >= _MOST_TARGETS:
            self._next.clear()
            self.words.clear()
        self._next[target.name] = now + _PACE_NS
        said = read(headers, self._clock.unix_ns())
        words = self.words.setdefault(target.key, {})
        if said:
            word = Word(
                {each.kind: each.limit for each in said if each.limit},
                {each.kind: each.remaining for each in said if each.remaining >= 0},
                now,
            )
            self._compare(target, word, sent_ns)
            words[target.model] = word
        self._forget(words, now)
        self._apply(target.key, now)
        for each in said:
            if each.remaining >= 0:
                self._lower(target, each.kind, each.remaining, each.limit, min(now - sent_ns, MINUTE_NS))

    def learn(self, provider: str, model: str, limits: Mapping[Kind, int], age_ns: int) -> None:
        """Another member of the fleet heard this, so long ago."""
        words = self.words.setdefault(provider, {})
        now = self._clock.monotonic_ns()
        known = words.get(model)
        if known is None or known.heard_ns < now - age_ns:
            words[model] = Word(dict(limits), {}, now - age_ns)
        self._forget(words, now)
        self._apply(provider, now)

    def forget(self) -> None:
        """Nothing that was said counts any more."""
        for words in self.words.values():
            words.clear()
        self.refresh()
        self.words.clear()
        self._next.clear()
        self._apart.clear()

    def refresh(self) -> None:
        """What is configured has changed."""
        now = self._clock.monotonic_ns()
        for provider in list(self.words):
            self._apply(provider, now)

    def state(self) -> dict[str, Any]:
        """What each target was told, as JSON can write it; `clamped` where it is less than is configured."""
        now = self._clock.monotonic_ns()
        return {
            f"{provider}/{model}": {
                "limits": {kind.name.lower(): limit for kind, limit in word.limits.items()},
                "remaining": {kind.name.lower(): units for kind, units in word.remaining.items()},
                "clamped": [
                    kind.name.lower() for kind, limit in word.limits.items() if limit < self._configured(provider, kind)
                ],
                "seconds_ago": round((now - word.heard_ns) / SECOND_NS, 1),
            }
            for provider, words in self.words.items()
            for model, word in words.items()
        }

    def __iter__(self) -> Iterator[tuple[str, Gate]]:
        """The limits beside the configured ones, with their ids."""
        for name, gate in self.gates.items():
            yield f"told:{name}", gate

    # ---- deciding

    def _compare(self, target: Target, word: Word, sent_ns: int) -> None:
        """More left than another model could have by now: these two do not spend from one limit."""
        for model, other in self.words[target.key].items():
            if model == target.model or other.heard_ns > sent_ns:
                continue
            for kind, left in word.remaining.items():
                limit, before = word.limits.get(kind, 0), other.remaining.get(kind)
                if limit and before is not None:
                    grown = limit * (word.heard_ns - other.heard_ns) // MINUTE_NS
                    if left > before + grown + max(1, limit // _SLACK):
                        self._apart[target.key] = word.heard_ns + KEPT_NS

    def _forget(self, words: dict[str, Word], now: int) -> None:
        for model in [model for model, word in words.items() if now - word.heard_ns > KEPT_NS]:
            del words[model]

    def _together(self, provider: str, now: int) -> bool:
        words = list(self.words.get(provider, {}).values())
        return self._apart.get(provider, 0) <= now and all(word.limits == words[0].limits for word in words)

    def _configured(self, provider: str, kind: Kind) -> int:
        """The limit by the minute that is configured; 0 where none is."""
        gate = self._providers.get(provider)
        amounts = [each.amount for each in gate.settings.rates if each.kind is kind] if gate is not None else []
        return min(amounts, default=0)

    def _apply(self, provider: str, now: int) -> None:
        """Bring the limits beside the configured ones to what was said."""
        words = self.words.get(provider, {})
        wanted: dict[str, dict[Kind, int]] = {}
        together = self._together(provider, now)
        for model, word in words.items():
            name = provider if together else f"{provider}/{model}"
            for kind, limit in word.limits.items():
                configured = self._configured(provider, kind)
                if not configured or limit < configured:
                    wanted.setdefault(name, {})[kind] = limit
        for name in [name for name in self.gates if name == provider or name.startswith(f"{provider}/")]:
            if name not in wanted:
                self._set(name, provider, {})
        for name, limits in wanted.items():
            self._set(name, provider, limits)

    def _set(self, name: str, provider: str, limits: dict[Kind, int]) -> None:
        gate = self.gates.get(name)
        former = {each.kind: each.amount for each in gate.settings.rates} if gate is not None else {}
        if former == limits:
            return
        base = self._providers[provider].settings if provider in self._providers else Settings()
        rates = tuple(rate(kind, limits[kind], MINUTE_NS, self.burst_seconds) for kind in sorted(limits))
        settings = msgspec.structs.replace(base, rates=rates, max_concurrent=0)
        # members that know of other kinds do not meet at the store: a limit there has its kinds once and for all
        made = f"told:{name}:" + "+".join(each.kind.name.lower() for each in rates)
        if not limits:
            del self.gates[name]
        elif gate is not None and self._ids[name] == made:
            gate.reconfigure(settings)
        else:
            self.gates[name] = self._make(made, settings)
        self._ids[name] = made
        for kind in sorted(former.keys() | limits.keys()):
            if former.get(kind) != limits.get(kind):
                self._on_change(Change(name, kind, limits.get(kind, 0), self._configured(provider, kind)))

    def _lower(self, target: Target, kind: Kind, remaining: int, limit: int, age_ns: int) -> None:
        """What was left then, and has grown back since, is the most that can be left now."""
        limit = limit or self._configured(target.key, kind)
        most = remaining + limit * age_ns // MINUTE_NS
        own = self.gates.get(target.name)
        gates = [own or self.gates.get(target.key)]
        if self._together(target.key, self._clock.monotonic_ns()):
            gates.append(self._providers.get(target.key))
        for gate in gates:
            if gate is not None:
                gate.lower(kind, most)
