"""Numbers in words, for users."""

from __future__ import annotations


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
