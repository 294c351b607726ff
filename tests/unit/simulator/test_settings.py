"""Settings: checked whole, and what they make of the models' delays."""

from __future__ import annotations

import pytest

from ai_client.errors import ConfigurationError
from ai_client.simulator.chance import Chance, luck
from ai_client.simulator.models import MODELS
from ai_client.simulator.settings import Settings, pace_of

GPT = next(model for model in MODELS if model.name == "gpt-4.1")
MS = 1_000_000


def test_every_mistake_is_named() -> None:
    wrong = Settings(rpm=-1, tpm=-1, latency_ms=float("nan"), token_ms=float("inf"), reply_tokens=-5, keys=("",))
    with pytest.raises(ConfigurationError) as caught:
        wrong.check()
    assert len(caught.value.problems) == 6
    with pytest.raises(ConfigurationError, match="realistic, fast, zero"):
        Settings(profile="slow").check()  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="ignore, continue, refuse"):
        Settings(prefill="echo").check()  # type: ignore[arg-type]
    Settings().check()


def test_profiles_scale_the_models_own_delays() -> None:
    draws = luck(Chance(1).digest(b"x"))
    real, fast, zero = (pace_of(GPT, Settings(profile=name)) for name in ("realistic", "fast", "zero"))
    assert fast.first_ns(draws, 0) == pytest.approx(real.first_ns(draws, 0) / 10, rel=0.01)
    assert fast.total_ns(draws, 100) == pytest.approx(real.total_ns(draws, 100) / 10, rel=0.01)
    assert zero.instant
    assert 100 * MS < real.first_ns(draws, 0) < 5_000 * MS


def test_fixed_delays_replace_them() -> None:
    draws = luck(Chance(1).digest(b"x"))
    fixed = pace_of(GPT, Settings(latency_ms=40))
    assert (fixed.first_ns(draws, 10_000), fixed.total_ns(draws, 100)) == (40 * MS, 0)
    steady = pace_of(GPT, Settings(latency_ms=40, token_ms=50))
    assert steady.schedule(draws, 3) == [0, 50 * MS, 100 * MS]
    own_first = pace_of(GPT, Settings(token_ms=50))
    assert own_first.first_ns(draws, 0) == pace_of(GPT, Settings()).first_ns(draws, 0)
    assert pace_of(GPT, Settings(latency_ms=0)).instant
