"""Amounts in windows of time."""

from __future__ import annotations

import re

import pytest

from ai_client.config.rates import rates


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ()),
        ("500/minute", ((500, "minute"),)),
        ("10/second, 500 / minute,20000/day", ((10, "second"), (500, "minute"), (20_000, "day"))),
    ],
)
def test_whole_numbers(text: str, value: object) -> None:
    assert rates().parse(text) == value


@pytest.mark.parametrize("text", ["500", "0/minute", "1.5/minute", "-1/day", "5/week", "5/day, 6/day", "5/days"])
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        rates().parse(text)


def test_money_is_nano_dollars_and_shown_as_dollars() -> None:
    kind = rates(money=True)
    assert kind.parse("2.50/day, 0.000000001/second") == ((2_500_000_000, "day"), (1, "second"))
    assert kind.show(kind.parse("2.50/day, 100/hour")) == "2.5/day, 100/hour"
    assert rates().show(((500, "minute"),)) == "500/minute"
