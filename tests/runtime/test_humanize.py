"""What is shown at a terminal or in a log moves no cursor, ends no line and turns no direction."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache._runtime.humanize import printable


@pytest.mark.parametrize("text", ["shop.price", "Größe µ 価格 🙂", "{a}:{b} <lambda>", "e\u0301"])
def test_plain_text_stays(text: str) -> None:
    """Words of any script are shown as they are."""
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r", r"a\nb\r"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028", r"\u2028"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(text: str, shown: str) -> None:
    """Each is named by its number, so that it can be told apart and looked up."""
    assert printable(text) == shown


@given(st.text())
def test_nothing_of_these_kinds_is_left(text: str) -> None:
    """No control, surrogate or separator of lines and paragraphs, and no mark of direction, whatever comes in."""
    kinds = {unicodedata.category(one) for one in printable(text)}
    assert not kinds & {"Cc", "Cs", "Zl", "Zp"}
    assert not {unicodedata.bidirectional(one) for one in printable(text)} & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI"}
