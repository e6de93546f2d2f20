"""Numbers in words, for users."""

from __future__ import annotations

import math
from typing import Final

MOST_PLACES: Final = 8
"""Places behind the point that are still read at a glance; smaller numbers have an exponent."""
ROUNDING: Final = 1e-9
"""Size below which a measured number, usually in micrometres, is what rounding left of nothing."""


def minus(text: str) -> str:
    """Write a number's hyphen as the minus sign that is as wide as a plus: for reading, never for tables."""
    return text.replace("-", "−")


def number(value: float, digits: int = 4) -> str:
    """Write so many significant digits, or all before the point, for reading.

    >>> number(12288.4), number(-0.03061), number(2.50)
    ('12288', '−0.03061', '2.5')
    """
    text = f"{value + 0.0:.{digits}g}"  # a zero below 0 is a zero
    return minus(f"{value:.0f}" if "e+" in text else text)


def measured(value: float, digits: int = 4) -> str:
    """Write so many digits of a measured value, all of which count; a dash where it is not defined.

    >>> measured(12.3), measured(-1234.4), measured(1e-12), measured(math.nan)
    ('12.30', '−1234', '0', '–')
    """
    if math.isnan(value):
        return "–"
    if abs(value) < ROUNDING:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    size = f"{abs(value):.{max(0, places)}f}" if places <= MOST_PLACES else f"{abs(value):.{digits}g}"
    return f"−{size}" if value < 0 else size


def percent(share: float) -> str:
    """Write a share of 1: whole from a tenth on, and below with two digits.

    >>> percent(0.634), percent(0.0346), percent(0.002), percent(0.0)
    ('63 %', '3.5 %', '0.2 %', '0 %')
    >>> percent(0.00003)
    'less than 0.01 %'
    """
    if 0 < share < 0.0001:
        return "less than 0.01 %"
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.2g} %"


def duration(seconds: float) -> str:
    """Return seconds as people say them.

    >>> duration(40), duration(700), duration(3900)
    ('40 s', '12 min', '1 h 5 min')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
