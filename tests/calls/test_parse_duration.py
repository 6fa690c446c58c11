"""`memocache._calls.parse_duration`: what is a duration, and what each other thing is told."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memocache._calls.parse_duration import seconds

UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": 0.001}
LONGEST = timedelta.max.total_seconds()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (0.25, 0.25),
        (timedelta(minutes=2, milliseconds=500), 120.5),
        ("500ms", 0.5),
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5_400.0),
        ("7d", 604_800.0),
        ("2w", 1_209_600.0),
        ("1.5s", 1.5),
        ("1w2d3h4m5s6ms", 788_645.006),
        ("0h1m", 60.0),
        ("007s", 7.0),
    ],
)
def test_every_documented_form_is_read(value: Any, expected: float) -> None:
    """Each legal form gives its seconds, as a float."""
    result = seconds(value)
    assert type(result) is float
    assert result == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "value",
    [
        *(0, -1, 0.0, -0.5, True, False, math.nan, math.inf, -math.inf, 10**400, -(10**400), 10**5000, LONGEST * 2),
        *(timedelta(0), timedelta(seconds=-1)),
        *("", " ", "5", "1.5", "5 parsecs", "5m5m", "1m1h", "5S", "5M", "-5m", "+5m", "5m ", " 5m", "1h 30m", "5m\n"),
        *("0s", "0h0m", "s", "ms", "1.s", ".5s", "1e3s", "1_000s", "٣s", "5µs", "1ms1s", "nan", "inf", "9" * 400 + "s"),
        *(None, b"5m", [5], (5,), {"s": 5}, Decimal(5), 5j, object(), int),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, int) or abs(value) < 10**20 else "huge int",
)
def test_everything_else_is_refused_by_parameter_name(value: Any) -> None:
    """What is no positive finite duration raises ValueError naming the parameter and the legal forms, briefly."""
    with pytest.raises(ValueError, match=r"^stale: .* is not a duration; give ") as caught:
        seconds(value, "stale")
    message = str(caught.value)
    assert '"1h30m"' in message
    assert len(message) < 250


def test_the_text_of_a_setting_is_shown_and_that_of_a_result_is_not() -> None:
    """A setting's culprit is quoted; with show=False, as for what a user's function returned, no value gets out."""
    with pytest.raises(ValueError, match="5 parsecs"):
        seconds("5 parsecs")
    with pytest.raises(ValueError, match="this str is not a duration") as caught:
        seconds("secret", show=False)
    assert "secret" not in str(caught.value)


def test_an_object_is_named_by_its_class_alone() -> None:
    """An object of a class that is no form of duration appears by class name, never by its repr."""
    with pytest.raises(ValueError, match="ttl: this list is not") as caught:
        seconds(["secret"])
    assert "secret" not in str(caught.value)


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 10_000), min_size=1))
def test_units_add_up(parts: dict[str, int]) -> None:
    """Any subset of the units, from large to small, is the sum of its parts; a sum of 0 is refused."""
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    total = sum(number * UNITS[unit] for unit, number in parts.items())
    if total:
        assert seconds(text) == pytest.approx(total)
    else:
        with pytest.raises(ValueError, match="ttl"):
            seconds(text)


@given(st.permutations(list(UNITS)).filter(lambda order: order != list(UNITS)))
def test_units_in_any_other_order_are_refused(order: list[str]) -> None:
    """Only the order from large to small is read, so that a slip such as "5m1h" is caught."""
    with pytest.raises(ValueError, match="ttl"):
        seconds("".join(f"1{unit}" for unit in order))


@given(st.floats() | st.integers())
def test_numbers_are_taken_as_they_are_or_refused(value: float) -> None:
    """A number in range comes back unchanged, and every other one is refused."""
    if 0 < value <= LONGEST:
        assert seconds(value) == float(value)
    else:
        with pytest.raises(ValueError, match="ttl"):
            seconds(value)


@given(st.timedeltas())
def test_timedeltas_are_taken_as_they_are_or_refused(value: timedelta) -> None:
    """Every positive timedelta is legal, the largest one too."""
    if value > timedelta(0):
        assert seconds(value) == value.total_seconds()
    else:
        with pytest.raises(ValueError, match="ttl"):
            seconds(value)


@given(st.text(max_size=60) | st.text("0123456789.wdhms", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    """Any text is a positive finite duration or a ValueError, never another error."""
    try:
        result = seconds(text)
    except ValueError as error:
        assert str(error).startswith("ttl: ")  # noqa: PT017  (either outcome is right)
    else:
        assert 0 < result <= LONGEST
