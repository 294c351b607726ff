"""The models' prices, against the arithmetic done by hand."""

from __future__ import annotations

from ai_client.cost.prices import shipped_prices
from ai_client.simulator.models import MODELS


def test_the_models_that_everybody_compares() -> None:
    prices = {model.name: (model.input_nano, model.output_nano) for model in MODELS if not model.embeds}
    assert prices == {
        "deepseek-v3.2": (140, 280),
        "gemini-2.5-flash": (300, 2_500),
        "gpt-4.1": (2_000, 8_000),
        "claude-sonnet-4.5": (3_000, 15_000),
    }


def test_the_bill_agrees_with_the_prices_that_the_client_knows() -> None:
    shipped = shipped_prices().models
    known = [model for model in MODELS if model.name in shipped]
    assert [model.name for model in known if not model.embeds] == [model.name for model in MODELS if not model.embeds]
    for model in known:
        price = shipped[model.name]
        nano = (model.input_nano, model.cached_nano, model.output_nano)
        assert (price.input, price.cached_input, price.output) == tuple(each * 1_000_000 for each in nano)


def test_dearer_models_are_right_more_often() -> None:
    chat = [model for model in MODELS if not model.embeds]
    assert [model.name for model in sorted(chat, key=lambda model: model.accuracy)] == [model.name for model in chat]
    assert [model.name for model in sorted(chat, key=lambda model: model.output_nano)] == [model.name for model in chat]


def test_cached_tokens_cost_less_and_are_part_of_the_input() -> None:
    gpt = next(model for model in MODELS if model.name == "gpt-4.1")
    assert gpt.cost_nano(1_000_000, 0, 0) == 2_000_000_000
    assert gpt.cost_nano(1_000_000, 1_000_000, 0) == 500_000_000
    assert gpt.cost_nano(100, 40, 10) == 60 * 2_000 + 40 * 500 + 10 * 8_000


def test_only_the_embedding_model_embeds() -> None:
    assert [model.name for model in MODELS if model.embeds] == ["text-embedding-3-small"]
