"""Numbers in words."""

from __future__ import annotations

import pytest

from toposcope.core.words import measured, number, percent


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (1.0, "100 %"),
        (0.634, "63 %"),
        (0.1, "10 %"),
        (0.0996, "10 %"),
        (0.0994, "9.9 %"),
        (0.0346, "3.5 %"),
        (0.02, "2 %"),
        (0.0024, "0.24 %"),
        (0.0001, "0.01 %"),
        (0.00003, "less than 0.01 %"),
        (0.0, "0 %"),
    ],
)
def test_a_share_is_whole_from_a_tenth_on_and_has_two_digits_below(share: float, words: str) -> None:
    assert percent(share) == words


@pytest.mark.parametrize(
    ("value", "digits", "words"),
    [
        (12288.0, 4, "12288"),  # not 1.229e+04
        (3000.0, 1, "3000"),
        (2.5, 4, "2.5"),
        (0.1 + 0.2, 4, "0.3"),
        (-0.030612, 4, "−0.03061"),
        (-0.0, 4, "0"),
    ],
)
def test_numbers_have_no_exponent_and_a_true_minus(value: float, digits: int, words: str) -> None:
    assert number(value, digits) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.70711, "0.7071"),
        (12.3, "12.30"),
        (-1234.4, "−1234"),
        (123456.7, "123457"),
        (0.000123456, "0.0001235"),
        (1e-12, "0"),
        (float("nan"), "–"),
    ],
)
def test_measured_numbers_keep_the_digits_that_count(value: float, words: str) -> None:
    assert measured(value) == words
