"""How hard prompts look: each rule, and the traps that each rule has to walk around."""

from __future__ import annotations

import pytest

from ai_client.routing.complexity import QueryComplexity, classify

SIMPLE, MODERATE, COMPLEX = QueryComplexity.SIMPLE, QueryComplexity.MODERATE, QueryComplexity.COMPLEX


@pytest.mark.parametrize(
    "prompt",
    [
        "Analyze the causes of the French Revolution.",
        "We have analysed it; now give me your own analysis",
        "Compare cats and dogs",
        "a comparison of two novels",
        "Evaluate this plan",
        "Write code for a parser",
        "I am learning programming",
        "What does this function do?",
        "Describe two sorting algorithms",
        "Why is the sky blue?",
        "Explain entropy",
        "I need an explanation",
        "Describe in detail how bread is made",
        "Describe the making of bread in great detail",
        "In detail, please describe how bread is made",
        "Give me 3 reasons to move",
        "Outline this in 10 steps",
        "Give me five good reasons",
        "ANALYZE THIS",
    ],
)
def test_complex(prompt: str) -> None:
    assert classify(prompt) is COMPLEX


@pytest.mark.parametrize(
    "prompt",
    [
        "hi",
        "Hello!",
        "Hey there",
        "Good morning, everyone!",
        "What is the capital of France?",
        "what's the time in Tokyo",
        "What\u2019s 2+2?",
        "Who is Ada Lovelace?",
        "who was Turing",
        "Hello, what is the tallest mountain?",
        "Translate 'good night' to French",
        "Convert 5 miles to kilometres",
        "Say it in Spanish: translate the following into Spanish",
        "I have a letter here. Could you translate it into German?",
        "Answer in one word: what colour is grass?",
        "Answer yes or no: is water wet?",
        "True or false? Water is wet.",
        "yes/no: is it raining",
        "Is it true that cats sleep all day?",
        "yes",
        "No, thanks",
    ],
)
def test_simple(prompt: str) -> None:
    assert classify(prompt) is SIMPLE


@pytest.mark.parametrize(
    "prompt",
    [
        "Write a poem about autumn",
        "Summarize the following letter: Dear Sir, I was glad to hear from you.",
        "Natalia sold clips to 48 of her friends in April, and then half as many in May. How many did she sell?",
        "",
        "   ",
        "?!",
    ],
)
def test_everything_else_is_moderate(prompt: str) -> None:
    assert classify(prompt) is MODERATE


@pytest.mark.parametrize(
    "prompt",
    ["history of Rome", "Highlights of the match", "Heyday of jazz", "Whatever is needed", "hieroglyphs"],
)
def test_a_greeting_or_question_is_a_whole_word(prompt: str) -> None:
    assert classify(prompt) is MODERATE


@pytest.mark.parametrize(
    "prompt",
    [
        "There is no way around it, write me a letter",
        "My answer was yes, sum up theirs",
        "Set the false teeth aside",
        "know",
    ],
)
def test_yes_and_no_count_only_as_the_answer_that_is_wanted(prompt: str) -> None:
    assert classify(prompt) is MODERATE


@pytest.mark.parametrize(
    "prompt",
    [
        "Is the sky blue? One word.",
        "Think about it as long as you like, then answer yes or no.",
        "Here is a sentence.\nTranslate it\nplease, to\nFrench.",
    ],
)
def test_a_simple_pattern_is_found_anywhere_and_across_lines(prompt: str) -> None:
    assert classify(prompt) is SIMPLE


@pytest.mark.parametrize(
    "prompt",
    ["Explain in one word what entropy is", "Why? Answer yes or no.", "Is this code right? Answer true or false."],
)
def test_a_short_answer_wins_over_a_hard_subject(prompt: str) -> None:
    assert classify(prompt) is SIMPLE


@pytest.mark.parametrize(
    "prompt", ["Translate 'explain why you compare' to French", "Hello! Could you please convert 'why' into Braille?"]
)
def test_words_to_be_translated_do_not_count(prompt: str) -> None:
    assert classify(prompt) is SIMPLE


@pytest.mark.parametrize("prompt", ["Convert this function to Rust", "Translate the code below into Python"])
def test_translating_code_is_programming(prompt: str) -> None:
    assert classify(prompt) is COMPLEX


def test_a_translation_further_on_does_not_outweigh_reasoning() -> None:
    assert classify("Explain the poem, then translate it to French") is COMPLEX


def test_a_conversion_needs_something_to_convert_to() -> None:
    assert classify("Translate: bonjour") is MODERATE


@pytest.mark.parametrize("greeting", ["Hi! ", "Hello there, ", "Good evening. "])
def test_a_greeting_does_not_hide_the_task(greeting: str) -> None:
    assert classify(f"{greeting}write a poem about autumn") is MODERATE
    assert classify(f"{greeting}compare Bach and Handel") is COMPLEX


@pytest.mark.parametrize(
    "prompt", ["decode the runes", "a codec", "encoded", "functional clothes", "1000th stepsister"]
)
def test_a_hard_word_is_a_whole_word(prompt: str) -> None:
    assert classify(prompt) is MODERATE


def test_a_long_question_is_not_simple() -> None:
    assert classify(f"What is the total of {'1 + ' * 60}1?") is SIMPLE
    assert classify(f"What is the total of {'1 + ' * 90}1?") is MODERATE


def test_of_a_long_text_the_head_and_the_tail_are_read() -> None:
    document = "The ship sailed on. " * 500
    assert classify(f"Analyze this: {document}") is COMPLEX
    assert classify(f"{document} Analyze this.") is COMPLEX
    assert classify(f"{document} One word, please.") is SIMPLE
    assert classify(f"{document} Analyze this. {document}") is MODERATE


def test_the_cut_makes_no_new_words() -> None:
    assert classify("x" * 1996 + " ana" + "y" * 600 + "lyze" + " " * 496) is MODERATE


@pytest.mark.parametrize(
    "piece",
    [
        "translate ",
        "describe ",
        "in detail ",
        "answer with ",
        " ",
        "\n",
        "two \t",
        "hi ",
        "what is",
        "yes/",
        "please ",
        '"',
        "1 ",
    ],
)
def test_no_text_is_worth_an_attack(piece: str) -> None:
    """Each would take minutes by patterns that backtrack; the run as a whole has a bound on a test that hangs."""
    assert classify(piece * 1_000_000) in QueryComplexity
