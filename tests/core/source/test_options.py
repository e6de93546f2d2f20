from __future__ import annotations

import pytest

from toposcope.core.source import parse_length
from toposcope.errors import CalibrationError


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("2.5um", (2.5, "um")),
        (" 2.5 µm ", (2.5, "um")),
        ("2.5 μm", (2.5, "um")),
        ("3 microns", (3.0, "um")),
        ("250nm", (0.25, "um")),
        ("-1e-3mm", (-0.001, "mm")),
        (".5cm", (5.0, "mm")),
        ("2.m", (2.0, "m")),
        ("0.35M", (0.35, "m")),
    ],
)
def test_lengths_are_read(text: str, length: tuple[float, str]) -> None:
    value, unit = parse_length(text)
    assert value == pytest.approx(length[0])
    assert unit == length[1]


@pytest.mark.parametrize("text", ["", "um", "2.5", "2.5 furlongs", "nan um", "inf mm", "1,5um", "2..5um", "1 um um"])
def test_what_is_no_length_is_refused(text: str) -> None:
    with pytest.raises(CalibrationError, match=r"is no length; write a number and nm, um, mm, cm or m"):
        parse_length(text)
