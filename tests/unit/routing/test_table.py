"""Which targets answer, in which order, and what is said when none does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ai_client.errors import UnknownModelError
from ai_client.model.call import Target
from ai_client.routing.table import AutoModels, ModelTable, Offer

A: Offer = ("a", {"gpt-4.1": "gpt-4.1", "o3": "o3-2025-04-16"})
B: Offer = ("b", {"gpt-4.1": "openai.gpt-4.1", "llama": "meta/llama"})
OPEN: Offer = ("open", None)

A_GPT = Target("a", "gpt-4.1", "gpt-4.1")
A_O3 = Target("a", "o3", "o3-2025-04-16")
B_GPT = Target("b", "gpt-4.1", "openai.gpt-4.1")
B_LLAMA = Target("b", "llama", "meta/llama")


def table(
    *offers: Offer,
    default: str = "gpt-4.1",
    aliases: dict[str, str] | None = None,
    fallback: Sequence[str] = (),
    auto: AutoModels | None = None,
) -> ModelTable:
    return ModelTable(offers or (A, B), default=default, aliases=aliases, fallback=fallback, auto=auto)


AUTO = AutoModels("llama", "gpt-4.1", "o3")


def test_all_providers_of_a_model_in_their_order() -> None:
    assert table().decide("gpt-4.1", "") == (A_GPT, B_GPT)
    assert table(B, A).decide("gpt-4.1", "") == (B_GPT, A_GPT)
    assert table().decide("llama", "") == (B_LLAMA,)


def test_a_provider_renames() -> None:
    assert table().decide("o3", "") == (A_O3,)


@pytest.mark.parametrize("asked", ["", "default"])
def test_the_default_model(asked: str) -> None:
    assert table(default="o3").decide(asked, "") == (A_O3,)
    assert table(default="b/gpt-4.1").decide(asked, "") == (B_GPT,)


def test_a_qualified_name_picks_the_provider() -> None:
    assert table().decide("b/gpt-4.1", "") == (B_GPT,)


def test_a_listed_name_with_a_slash_is_a_name() -> None:
    slashed: Offer = ("c", {"a/gpt-4.1": "x"})
    assert table(A, slashed).decide("a/gpt-4.1", "") == (Target("c", "a/gpt-4.1", "x"),)
    assert table(A, slashed).decide("c/a/gpt-4.1", "") == (Target("c", "a/gpt-4.1", "x"),)


def test_aliases_lead_through_aliases() -> None:
    made = table(aliases={"fast": "cheap", "cheap": "llama", "mine": "a/gpt-4.1", "std": "default"})
    assert made.decide("fast", "") == made.decide("cheap", "") == (B_LLAMA,)
    assert made.decide("mine", "") == (A_GPT,)
    assert made.decide("std", "") == (A_GPT, B_GPT)


def test_an_alias_goes_before_a_model_of_its_name() -> None:
    made = table(aliases={"gpt-4.1": "llama"})
    assert made.decide("gpt-4.1", "") == (B_LLAMA,)
    assert made.decide("a/gpt-4.1", "") == (A_GPT,)


def test_the_fallbacks_come_after_none_twice() -> None:
    made = table(fallback=["o3", "gpt-4.1", "small"], aliases={"small": "llama"})
    assert made.decide("gpt-4.1", "") == (A_GPT, B_GPT, A_O3, B_LLAMA)
    assert made.decide("llama", "") == (B_LLAMA, A_O3, A_GPT, B_GPT)
    assert made.decide("b/gpt-4.1", "") == (B_GPT, A_O3, A_GPT, B_LLAMA)


def test_auto_asks_the_text() -> None:
    made = table(auto=AUTO, aliases={"clever": "auto"}, fallback=["llama"])
    for asked in ("auto", "clever"):
        assert made.decide(asked, "hi") == (B_LLAMA,)
        assert made.decide(asked, "write a poem") == (A_GPT, B_GPT, B_LLAMA)
        assert made.decide(asked, "explain why") == (A_O3, B_LLAMA)


def test_auto_may_be_the_default_and_its_models_aliases() -> None:
    made = table(auto=AutoModels("small", "small", "a/o3"), default="auto", aliases={"small": "llama"})
    for asked in ("", "default", "auto"):
        assert made.decide(asked, "hi") == (B_LLAMA,)
        assert made.decide(asked, "explain why") == (A_O3,)


def test_without_auto_it_is_a_name_like_others() -> None:
    with pytest.raises(UnknownModelError):
        table().decide("auto", "hi")
    assert table(OPEN).decide("auto", "hi") == (Target("open", "auto", "auto"),)


def test_reserved_names_win_over_models_of_these_names() -> None:
    odd: Offer = ("odd", {"auto": "x", "default": "y"})
    made = table(A, B, odd, auto=AUTO)
    assert made.decide("auto", "hi") == (B_LLAMA,)
    assert made.decide("default", "hi") == (A_GPT, B_GPT)
    assert made.decide("odd/auto", "hi") == (Target("odd", "auto", "x"),)
    assert made.decide("odd/default", "hi") == (Target("odd", "default", "y"),)


def test_an_open_list_takes_any_name() -> None:
    made = table(A, OPEN, fallback=["o3"])
    assert made.decide("anything", "") == (Target("open", "anything", "anything"), A_O3)
    assert made.decide("meta/llama", "") == (Target("open", "meta/llama", "meta/llama"), A_O3)
    assert made.decide("open/meta/llama", "") == (Target("open", "meta/llama", "meta/llama"), A_O3)


def test_but_none_that_no_model_has() -> None:
    """Names are kept with all that is learned of a target, and told in headers and metrics."""
    assert table(OPEN).decide("x" * 256, "")
    with pytest.raises(UnknownModelError):
        table(OPEN).decide("x" * 257, "")


def test_a_listing_wins_over_an_open_list() -> None:
    assert table(OPEN, A).decide("gpt-4.1", "") == (A_GPT,)
    assert table(OPEN, A).decide("a/gpt-4.1", "") == (A_GPT,)


def test_several_open_lists_are_tried_in_turn() -> None:
    assert table(("x", None), ("y", None)).decide("m", "") == (Target("x", "m", "m"), Target("y", "m", "m"))


def test_a_provider_may_list_some_and_take_any() -> None:
    made = table(("a", {"fast": "gpt-4.1-nano"}), ("a", None), default="fast")
    assert made.decide("fast", "") == (Target("a", "fast", "gpt-4.1-nano"),)
    assert made.decide("slow", "") == (Target("a", "slow", "slow"),)


def test_a_model_offered_twice_is_one_target() -> None:
    assert table(A, A).decide("gpt-4.1", "") == (A_GPT,)


def test_names_on_an_open_list_are_not_remembered() -> None:
    made = table(OPEN)
    before = len(made._chains)
    for number in range(100):
        made.decide(f"model-{number}", "")
    assert len(made._chains) == before


def test_a_known_name_is_always_the_same_object() -> None:
    made = table()
    assert made.decide("gpt-4.1", "") is made.decide("gpt-4.1", "anything")


def refusal(made: ModelTable, asked: str, text: str = "") -> str:
    with pytest.raises(UnknownModelError) as caught:
        made.decide(asked, text)
    assert caught.value.param == "model"
    assert caught.value.status == 404
    return caught.value.message


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("gpt-4", "gpt-4.1"), ("GPT-4.1", "gpt-4.1"), ("lama", "llama"), ("o33", "o3"), ("fats", "fast")],
)
def test_an_unknown_model_is_refused_with_the_nearest(asked: str, meant: str) -> None:
    made = table(aliases={"fast": "o3"})
    assert refusal(made, asked) == (
        f"no provider serves the model {asked!r}: did you mean {meant!r}? known models: gpt-4.1, o3, llama, fast"
    )


def test_nothing_near_nothing_suggested() -> None:
    assert refusal(table(), "zzz") == "no provider serves the model 'zzz': known models: gpt-4.1, o3, llama"


def test_a_qualified_name_is_compared_with_qualified_names() -> None:
    assert "did you mean 'b/gpt-4.1'" in refusal(table(), "b/gpt-4")


def test_what_an_unserved_name_stands_for_is_said() -> None:
    assert "the model 'fast' (it stands for 'nano')" in refusal(table(aliases={"fast": "nano"}), "fast")
    assert "the model '' (it stands for 'nano')" in refusal(table(default="nano"), "")
    assert "the model 'auto' (it stands for 'nano')" in refusal(
        table(auto=AutoModels("nano", "o3", "o3")), "auto", "hi"
    )


def test_a_fallback_does_not_answer_for_an_unknown_model() -> None:
    assert "gpt-9" in refusal(table(fallback=["llama"]), "gpt-9")


def test_no_models_at_all() -> None:
    assert refusal(table(("a", {})), "x") == "no provider serves the model 'x': known models: none"
    assert "known models: none" in refusal(table(OPEN, default=""), "")


def test_a_message_stays_short_whatever_was_asked() -> None:
    many: Offer = ("many", {f"model-{number:03}": "x" for number in range(200)})
    message = refusal(table(many), "m" * 1_000_000)
    assert len(message) < 1000
    assert message.endswith("model-049 and 150 more")


def test_known_names() -> None:
    made = table(A, B, OPEN, auto=AUTO, aliases={"fast": "llama", "o3": "gpt-4.1"})
    assert made.known() == ("gpt-4.1", "o3", "llama", "auto", "fast")
    assert table().known() == ("gpt-4.1", "o3", "llama")


def test_models_with_their_first_provider() -> None:
    assert table().models() == (A_GPT, A_O3, B_LLAMA)


def test_circles_are_refused_all_at_once() -> None:
    with pytest.raises(ValueError, match="circle") as caught:
        table(aliases={"a": "b", "b": "c", "c": "a", "x": "x", "into": "a", "fine": "o3"})
    assert str(caught.value).split("\n") == [
        "aliases lead in a circle: 'a' -> 'b' -> 'c' -> 'a'",
        "aliases lead in a circle: 'x' -> 'x'",
    ]


def test_the_default_may_not_lead_to_itself() -> None:
    with pytest.raises(ValueError, match="'default' -> 'std' -> 'default'"):
        table(default="std", aliases={"std": "default"})


@pytest.mark.parametrize("name", ["", "auto", "default"])
def test_reserved_names_are_no_aliases(name: str) -> None:
    with pytest.raises(ValueError, match=f"must not be called '{name}'"):
        table(aliases={name: "o3"})


def test_auto_cannot_stand_for_one_certain_model() -> None:
    with pytest.raises(ValueError, match="certain model") as caught:
        table(fallback=["auto", "any"], aliases={"any": "auto"}, auto=AutoModels("any", "o3", "auto"))
    assert [line.partition(",")[0] for line in str(caught.value).split("\n")] == [
        "the fallback model 1 is 'auto'",
        "the fallback model 2 is 'any'",
        "the model for simple prompts is 'any'",
        "the model for complex prompts is 'auto'",
    ]


def test_a_larger_model_is_found_by_name_or_alias() -> None:
    larger = {"gpt-4.1": "big", "o3": "nobody"}
    made = ModelTable((A, B), default="gpt-4.1", aliases={"big": "llama"}, larger=larger)
    assert made.larger("gpt-4.1") == (B_LLAMA,)
    assert made.larger("o3") == made.larger("other") == ()
