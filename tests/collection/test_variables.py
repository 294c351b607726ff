"""The roles' variables: described once, with the same defaults wherever they stand."""

from __future__ import annotations

import pytest

from tests.collection.variables import defaults, names, options


@pytest.mark.parametrize("role", names())
def test_defaults_and_argument_specs_agree(role: str) -> None:
    assert defaults(role) == {name: each["default"] for name, each in options(role).items()}


@pytest.mark.parametrize("role", names())
def test_every_variable_is_described_and_typed(role: str) -> None:
    prefix = {"client": "ai_", "quota_store": "ai_store_", "monitoring": "ai_monitoring_"}[role]
    assert options(role)
    for name, each in options(role).items():
        assert name.startswith(prefix)
        assert each["type"], name
        assert str(each["description"]).rstrip("'").endswith("."), name
        secret = "password" in name or (name.startswith(("ai_api_key", "ai_redis_url")) and name != "ai_api_key_file")
        assert bool(each.get("no_log")) == secret, name
