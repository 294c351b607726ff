"""Prefix blocks: 512 tokens each, known by everything before them."""

from __future__ import annotations

from ai_client.simulator.prefixes import BLOCK_CHARS, PrefixCache


def block(letter: str) -> str:
    return letter * BLOCK_CHARS


def test_whole_blocks_from_the_beginning_count() -> None:
    cache = PrefixCache()
    assert cache.see("m", block("a") + block("b") + "tail") == 0
    assert cache.see("m", block("a") + block("b") + "another tail") == 1_024
    assert cache.see("m", block("a") + block("x") + block("b")) == 512
    assert cache.see("m", block("b") + block("a")) == 0


def test_less_than_a_block_is_never_cached() -> None:
    cache = PrefixCache()
    assert cache.see("m", "a" * (BLOCK_CHARS - 1)) == 0
    assert cache.see("m", "a" * (BLOCK_CHARS - 1)) == 0


def test_models_do_not_share() -> None:
    cache = PrefixCache()
    cache.see("m", block("a"))
    assert cache.see("n", block("a")) == 0
    assert cache.see("m", block("a")) == 512


def test_characters_count_and_not_bytes() -> None:
    cache = PrefixCache()
    cache.see("m", "ä" * BLOCK_CHARS)
    assert cache.see("m", "ä" * BLOCK_CHARS) == 512


def test_what_was_not_seen_for_longest_is_forgotten() -> None:
    cache = PrefixCache(limit=2)
    for letter in "aba":
        cache.see("m", block(letter))
    cache.see("m", block("c"))  # b goes: a was seen after it
    assert cache.see("m", block("a")) == 512
    assert cache.see("m", block("b")) == 0
