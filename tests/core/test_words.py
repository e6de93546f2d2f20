"""Numbers in words."""

from __future__ import annotations

import pytest

from toposcope.core.words import percent


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
