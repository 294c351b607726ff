"""Rows of the ledger, put together."""

from __future__ import annotations

from ai_client.cost.base import Entry, Key, merge

ONE = Entry("2026-01-31", "app", "tag", "gpt-4.1", "openai/gpt-4.1", 1, 0, 10, 4, 5, 700)


def test_a_row_knows_its_key_and_figures() -> None:
    assert ONE.key == Key("2026-01-31", "app", "tag", "gpt-4.1", "openai/gpt-4.1")
    assert Entry(*ONE.key, *ONE.figures) == ONE


def test_rows_with_one_key_become_one() -> None:
    other = Entry("2026-01-30", "app", "tag", "gpt-4.1", "openai/gpt-4.1", calls=1)
    failed = Entry(*ONE.key, calls=1, errors=1, cost_nano=5)
    merged = merge([ONE, other, failed])
    assert merged == [other, Entry(*ONE.key, 2, 1, 10, 4, 5, 705)]
    assert merge([]) == []
