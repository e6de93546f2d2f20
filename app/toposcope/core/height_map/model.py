"""What a height map is, and how it passes for a result and a result for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope import __version__
from toposcope.core.calibration import MICROMETRES, Floats, Sourced
from toposcope.core.curve import format_length
from toposcope.core.height_map.grid import resampled
from toposcope.core.jobs import Report, silent
from toposcope.core.result import DepthResult, Provenance
from toposcope.core.stack import FrameTags
from toposcope.core.sweep import SweepReport
from toposcope.core.words import number, percent
from toposcope.errors import CalibrationError, StackError

METHOD: Final = "height map"
"""What stands for the method in a result that was not computed but measured."""
Mirror = Literal["none", "rows", "columns", "both"]
MIRRORS: Final[tuple[Mirror, ...]] = get_args(Mirror)
MIRROR_WORDS: Final[dict[Mirror, str]] = {
    "rows": "mirrored top to bottom",
    "columns": "mirrored left to right",
    "both": "turned by 180°",
}
SQUARE: Final = 1e-3
"""Share by which the two sides of a pixel may differ and still be called equal."""
LIGHT: Final = (-1.0, 1.0)
"""Where the light of shaded relief comes from: the upper left, as (rows, columns) per unit of slope."""


@dataclass(frozen=True, eq=False)  # no slots: `range_um` is kept
class HeightMap:
    """Heights that an instrument has measured.

    ``z_um`` (H, W) float64 in micrometres, growing towards the instrument, NaN where nothing was measured, the first
    row on top; ``pixel_x_um`` and ``pixel_y_um`` are the distances of columns and of rows, None where the file does
    not tell; ``format``, ``instrument`` and ``title`` (what the file calls it) are names for users, the last two empty
    where the file does not tell. ``notes`` say what a reader had to decide.
    """

    z_um: Floats
    pixel_x_um: Sourced[float] | None
    pixel_y_um: Sourced[float] | None
    format: str
    instrument: str = ""
    path: Path | None = None
    notes: tuple[str, ...] = ()
    title: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.z_um.shape[0]), int(self.z_um.shape[1])

    @property
    def name(self) -> str:
        """The file's name, for users."""
        return self.path.name if self.path is not None else self.format

    @property
    def pixels_um(self) -> tuple[float, float] | None:
        """Distances of rows and of columns in micrometres, None where not both are known."""
        if self.pixel_x_um is None or self.pixel_y_um is None:
            return None
        return self.pixel_y_um.value, self.pixel_x_um.value

    @property
    def is_square(self) -> bool:
        """Whether pixels are as high as wide; also where their size is not known."""
        pixels = self.pixels_um
        return pixels is None or abs(pixels[0] - pixels[1]) <= SQUARE * pixels[1]

    @property
    def extent_um(self) -> tuple[float, float] | None:
        """Height and width of the field in micrometres, None where the pixel size is not known."""
        pixels = self.pixels_um
        return None if pixels is None else (self.shape[0] * pixels[0], self.shape[1] * pixels[1])

    @cached_property
    def range_um(self) -> tuple[float, float] | None:
        """The lowest and the highest height, None where nothing was measured."""
        known = self.z_um[np.isfinite(self.z_um)]
        return (float(known.min()), float(known.max())) if known.size else None


def described(height_map: HeightMap) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Return what a height map is: rows (name, text) for users, and facts for machines."""
    height, width = height_map.shape
    x, y, extent, span = height_map.pixel_x_um, height_map.pixel_y_um, height_map.extent_um, height_map.range_um
    void = 1 - float(np.isfinite(height_map.z_um).mean())
    rows = [("height map", height_map.name), ("format", height_map.format)]
    rows += [
        (name, text) for name, text in (("title", height_map.title), ("instrument", height_map.instrument)) if text
    ]
    size = f"{width} × {height} pixels"
    rows.append(("size", f"{size}, {number(extent[1], 5)} × {number(extent[0], 5)} µm" if extent else size))
    if x is None or y is None:
        rows.append(("pixel", "not known: the file does not tell"))
    elif height_map.is_square:
        rows.append(("pixel", f"{x.value:.5g} µm   ({x.origin})"))
    else:
        rows.append(("pixel", f"{x.value:.5g} µm wide, {y.value:.5g} µm high   ({x.origin})"))
    if span is None:
        rows.append(("heights", "none: nothing was measured"))
    else:
        reach = span[1] - span[0]
        low, high = (format_length(end, "µm", max(reach, 1e-6) / 1000) for end in span)
        rows.append(("heights", f"{low.removesuffix(' µm')} to {high}, a range of {reach:.5g} µm"))
    rows.append(("void", f"{percent(void)} not measured"))
    rows += [("note", note) for note in height_map.notes]
    facts: dict[str, Any] = {
        "kind": "height map",
        "name": height_map.name,
        "path": str(height_map.path) if height_map.path is not None else None,
        "format": height_map.format,
        "title": height_map.title or None,
        "instrument": height_map.instrument or None,
        "shape": [height, width],
        "pixel_x_um": x and {"value": x.value, "origin": x.origin, "guessed": x.guessed},
        "pixel_y_um": y and {"value": y.value, "origin": y.origin, "guessed": y.guessed},
        "min_um": span[0] if span else None,
        "max_um": span[1] if span else None,
        "void_share": void,
        "notes": list(height_map.notes),
    }
    return rows, facts


def mirrored(height_map: HeightMap, mirror: Mirror) -> HeightMap:
    """Return the height map mirrored top to bottom (rows), left to right (columns) or both, which turns it by 180°.

    Programs do not agree on which row comes first.
    """
    if mirror == "none":
        return height_map
    z = height_map.z_um[:: -1 if mirror in ("rows", "both") else 1, :: -1 if mirror in ("columns", "both") else 1]
    return replace(height_map, z_um=z, notes=(*height_map.notes, MIRROR_WORDS[mirror]))


def squared(height_map: HeightMap, report: Report = silent) -> HeightMap:
    """Return the height map with pixels as high as wide: of the smaller side, heights between are interpolated."""
    pixels, extent = height_map.pixels_um, height_map.extent_um
    if height_map.is_square or pixels is None or extent is None:
        return height_map
    side = min(pixels)
    shape = max(1, round(extent[0] / side)), max(1, round(extent[1] / side))
    origin = height_map.pixel_x_um.origin if height_map.pixel_x_um else ""
    size = Sourced(side, f"{origin}, the smaller side")
    z = resampled(height_map.z_um, pixels, shape, side, (0.0, 0.0), report)
    note = f"pixels were {pixels[1]:.5g} × {pixels[0]:.5g} µm; heights are interpolated to {side:.5g} µm both ways"
    return replace(height_map, z_um=z, pixel_x_um=size, pixel_y_um=size, notes=(*height_map.notes, note))


def from_result(result: DepthResult, path: Path | None = None) -> HeightMap:
    """Return the heights of a result as a height map.

    Raises
    ------
    CalibrationError
        If its depths are counted in slices.
    """
    if result.unit == "index":
        raise CalibrationError(
            "the depths of the result are counted in slices, not in a length. Give the step in the calibration of the "
            "stack, and compute it again.",
            option="--z-step of toposcope depth",
        )
    z = result.heights().astype(np.float64) * MICROMETRES[result.unit]
    program = f"Toposcope {result.provenance.version}, {result.provenance.method}"
    return HeightMap(z, result.pixel_um, result.pixel_um, "result of Toposcope", program, path)


def as_result(height_map: HeightMap, report: Report = silent) -> DepthResult:
    """Return a height map as a result, for all that shows and exports those: square pixels, grey shaded relief.

    Depths are in micrometres, counted from the lowest height that was measured: instruments count from anywhere,
    which single precision could not hold. Positions are that height, the middle and the highest; there are no frames.

    Raises
    ------
    StackError
        If nothing was measured.
    """
    span = height_map.range_um
    if span is None:
        raise StackError(f"{height_map.name} holds no height: nothing was measured.")
    square = squared(height_map, report)
    depth: NDArray[np.float32] = (square.z_um - span[0]).astype(np.float32)
    valid = np.isfinite(depth)
    reach = max(span[1] - span[0], 1e-6)
    origin = height_map.format
    return DepthResult(
        depth,
        valid.astype(np.float32),
        valid,
        shaded(square),
        FrameTags(),
        Sourced(np.array([0.0, reach / 2, reach]), origin),
        "um",
        Sourced("microscope", origin),
        Sourced("high", origin),
        square.pixel_x_um,
        None,
        None,
        SweepReport((), None),
        Provenance(__version__, METHOD, {}, height_map.name, (), 0.0, {}),
    )


def shaded(height_map: HeightMap) -> NDArray[np.uint8]:
    """Return (H, W) grey: the surface in light from the upper left, black where nothing was measured."""
    known = np.isfinite(height_map.z_um)
    if not known.any():
        return np.zeros(height_map.shape, np.uint8)
    z = np.where(known, height_map.z_um - np.median(height_map.z_um[known]), 0.0).astype(np.float32)
    rows, columns = (cv2.Sobel(z, cv2.CV_32F, dx, dy, ksize=3) for dx, dy in ((0, 1), (1, 0)))
    # a picture, not a measurement: the usual slope is drawn as a medium one, whatever the scale
    lit = LIGHT[0] * -rows + LIGHT[1] * columns
    usual = float(np.median(np.abs(lit[known]))) or float(np.abs(lit[known]).max()) or 1.0
    grey = 128 + 90 * np.tanh(lit / (3 * usual))
    return np.where(known, np.clip(np.rint(grey), 1, 255), 0).astype(np.uint8)
