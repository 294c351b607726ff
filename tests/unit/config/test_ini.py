"""The INI reader: lines, comments, and every way to get it wrong."""

from __future__ import annotations

import pytest

from ai_client.config.ini import Item, decode, read


def test_items_keep_their_section_case_and_line() -> None:
    document = read("# comment\n[api]\ntimeout = 3\n\n; comment\n[model_costs]\ngpt-4.1=8\nOrg/Model:free = 0 = # 1\n")
    assert document.items == (
        Item("api", "timeout", "3", 3),
        Item("model_costs", "gpt-4.1", "8", 7),
        Item("model_costs", "Org/Model:free", "0 = # 1", 8),
    )
    assert document.faults == ()
    assert document.preamble is None


def test_section_names_are_squeezed_and_sections_may_return() -> None:
    document = read("[ provider   local ]\na = 1\n[api]\n[provider local]\nb = 2\n")
    assert [header.section for header in document.headers] == ["provider local", "api", "provider local"]
    assert [item.section for item in document.items] == ["provider local", "provider local"]


def test_windows_line_ends_and_a_byte_order_mark_are_no_mistake() -> None:
    document = read(decode(b"\xef\xbb\xbf[api]\r\ntimeout = 3\r\n"))
    assert document.items == (Item("api", "timeout", "3", 2),)
    assert document.faults == ()


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[api]\ntimeout 3\n", 2, "expected `key = value`"),
        ("[api]\n = 3\n", 2, "expected a key before `=`"),
        ("timeout = 3\n[api]\n", 1, "before any section"),
        ("[api\n", 1, "section's name in brackets"),
        ("[]\n", 1, "section's name in brackets"),
        ("[a[b]]\n", 1, "section's name in brackets"),
        ("[api] # main\n", 1, "section's name in brackets"),
        ("[api]\na = 1\nb = 2\na = 3\n", 4, "[api] a is given twice; first in line 2"),
        ("[api]\na = 1\n[api]\na = 3\n", 4, "[api] a is given twice; first in line 2"),
        ("[api]\na = x\x00y\n", 2, "U+0000, at column 6"),
        ("[api]\na = x\u200by\n", 2, "U+200B, at column 6"),
    ],
)
def test_a_fault_has_its_line_and_reason(text: str, line: int, reason: str) -> None:
    (fault,) = read(text).faults
    assert fault.line == line
    assert reason in fault.reason


def test_keys_below_a_broken_header_are_not_mistakes_of_their_own() -> None:
    document = read("[api\ntimeout = 3\nnonsense\n[models]\ndefault = x\n")
    assert [fault.line for fault in document.faults] == [1]
    assert document.items == (Item("models", "default", "x", 5),)


def test_prose_before_the_first_section_is_told_apart_from_faults() -> None:
    document = read("Some title\nMore of it\n[api]\n")
    assert document.preamble == 1
    assert document.faults == ()


def test_bytes_that_are_not_utf8_are_reported_by_line_even_in_comments() -> None:
    document = read(decode(b"[api]\n# caf\xe9\ntimeout = \xff\n"))
    assert [(fault.line, fault.reason) for fault in document.faults] == [(2, "not UTF-8"), (3, "not UTF-8")]


def test_a_key_that_is_given_twice_is_told_without_what_it_may_hide() -> None:
    """Something like an API key on the wrong side of `=`, and characters that a terminal would obey."""
    (secret,) = read("[a]\nsk-0123456789 =\nsk-0123456789 =\n").faults
    assert "0123456789" not in secret.reason
    (odd,) = read("[a]\nx\ty = 1\nx\ty = 2\n").faults
    assert odd.reason == "[a] x\\x09y is given twice; first in line 2"
