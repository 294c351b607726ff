"""Which limits an attempt falls under: its key's, and those of its model, app, tag and user, one inside the other."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping

from ai_client.limits.base import Limiter, Settings
from ai_client.model.call import Attempt

_MOST_VALUES = 10_000
_LONGEST = 256  # characters of a value that is kept as it is


def _user(attempt: Attempt) -> str:
    user = attempt.call.fields.user  # the caller's own words, however many
    return user if len(user) <= _LONGEST else hashlib.sha256(user.encode()).hexdigest()


def _tag(attempt: Attempt) -> str:
    return attempt.call.record.tag


def _app(attempt: Attempt) -> str:
    return attempt.call.app


def _model(attempt: Attempt) -> str:
    return attempt.target.model


def _provider(attempt: Attempt) -> str:
    return attempt.target.provider


VALUE_OF: Mapping[str, Callable[[Attempt], str]] = {
    "user": _user,
    "tag": _tag,
    "app": _app,
    "model": _model,
    "provider": _provider,
}
"""How an attempt shows its value of each scope, the narrowest scope first: in this order quota is reserved."""


class Scope:
    """One [limit NAME]: a limiter for each value it names, or for whatever value comes along.

    Of more than 10,000 values that nobody named, the one not seen for longest is forgotten, and begins anew.
    """

    __slots__ = ("_each", "_find", "_make", "_settings", "by_value", "name")

    def __init__(
        self,
        name: str,
        scope: str,
        values: tuple[str, ...],
        settings: Settings,
        make: Callable[[str, Settings], Limiter],
    ) -> None:
        """`scope` is a key of `VALUE_OF`; `values` may be `("*",)`. `make(name, settings)` makes a limiter."""
        self.name = name
        self._find = VALUE_OF[scope]
        self._settings = settings
        self._make = make
        self._each = values == ("*",)
        self.by_value: OrderedDict[str, Limiter] = OrderedDict()
        if not self._each:
            for value in values:
                self.by_value[value] = make(value, settings)

    def find(self, attempt: Attempt) -> Limiter | None:
        """The limiter that this attempt has to pass, None where it falls under none."""
        value = self._find(attempt)
        limiter = self.by_value.get(value)
        if not self._each or not value:
            return limiter
        if limiter is None:
            limiter = self.by_value[value] = self._make(value, self._settings)
            if len(self.by_value) > _MOST_VALUES:
                self.by_value.popitem(last=False)
        else:
            self.by_value.move_to_end(value)
        return limiter
