"""The role's variables: described once, with the same defaults wherever they stand."""

from __future__ import annotations

from tests.collection.variables import defaults, options


def test_defaults_and_argument_specs_agree() -> None:
    assert defaults() == {name: each["default"] for name, each in options().items()}


def test_every_variable_is_described_and_typed() -> None:
    assert len(options()) > 40
    for name, each in options().items():
        assert name.startswith("ai_")
        assert each["type"], name
        assert str(each["description"]).rstrip("'").endswith("."), name
