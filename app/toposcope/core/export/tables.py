"""Focus curves and pins as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from toposcope.core.curve import FocusCurve
from toposcope.core.export.writing import write_bytes


def curves_csv(curves: Sequence[FocusCurve]) -> str:
    """Return curves as CSV text, one line per pin and slice.

    ``pin,row,column,slice,position,unit,probability,measure``; slices and pins count from 1, pixels from 0,
    ``measure`` is empty where the method has none.
    """
    lines = [["pin", "row", "column", "slice", "position", "unit", "probability", "measure"]]
    for number, curve in enumerate(curves, 1):
        for i, position in enumerate(curve.positions):
            measure = "" if curve.measure is None else f"{curve.measure[i]:.7g}"
            place = [str(number), str(curve.row), str(curve.column), str(i + 1)]
            lines.append([*place, f"{position:.9g}", curve.unit_symbol, f"{curve.probability[i]:.7g}", measure])
    return _text(lines)


def pins_csv(curves: Sequence[FocusCurve]) -> str:
    """Return one line per pin: where it is, its depth, the peak and width of its curve, and the verdict.

    Depth, peak and width are empty where not known.
    """
    lines = [["pin", "row", "column", "depth", "peak", "width", "unit", "verdict"]]
    for number, curve in enumerate(curves, 1):
        values = ["" if value != value else f"{value:.9g}" for value in (curve.depth, curve.position, curve.width)]
        place = [str(number), str(curve.row), str(curve.column)]
        lines.append([*place, *values, curve.unit_symbol, curve.verdict.text])
    return _text(lines)


def write_curves_csv(curves: Sequence[FocusCurve], path: Path | str) -> None:
    """Write `curves_csv` in UTF-8, marked so that spreadsheets read the unit's µ."""
    write_bytes(path, curves_csv(curves).encode("utf-8-sig"))


def write_pins_csv(curves: Sequence[FocusCurve], path: Path | str) -> None:
    """Write `pins_csv` in UTF-8, marked so that spreadsheets read the unit's µ."""
    write_bytes(path, pins_csv(curves).encode("utf-8-sig"))


def _text(lines: Sequence[Sequence[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
