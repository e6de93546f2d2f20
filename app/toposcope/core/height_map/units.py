"""Units of length as instruments write them."""

from __future__ import annotations

from typing import Final

LENGTHS_UM: Final[dict[str, float]] = {
    "km": 1e9,
    "m": 1e6,
    "cm": 1e4,
    "mm": 1e3,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter beside the sign
    "um": 1.0,
    "nm": 1e-3,
    "å": 1e-4,
    "pm": 1e-6,
    "in": 25_400.0,
}


def micrometres(unit: object) -> float | None:
    """Return how many micrometres a unit of length is, None if it is none.

    >>> micrometres("nm"), micrometres("V")
    (0.001, None)
    """
    text = str(unit or "").strip()
    if text == "Mm":  # in small letters it would pass for millimetres
        return None
    return LENGTHS_UM.get(text.lower())
