"""Surfaces by formula, for tests of height maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import Sourced
from toposcope.core.height_map import HeightMap

Floats = NDArray[np.float64]


def hills(y_um: Floats, x_um: Floats) -> Floats:
    """Heights in µm of a surface with hills of several widths, which looks like itself in one place only."""
    z = 2.0 * np.sin(x_um / 7.0 + 0.3) * np.cos(y_um / 9.0) + 1.2 * np.sin((x_um + 1.7 * y_um) / 15.0)
    return z + 3.0 * np.exp(-((x_um - 60.0) ** 2 + (y_um - 45.0) ** 2) / 200.0)


def field(
    shape: tuple[int, int],
    pixel: tuple[float, float],
    corner: tuple[float, float] = (0.0, 0.0),
    path: Path | None = None,
) -> HeightMap:
    """`hills` measured at the middles of pixels (rows, columns in µm) of a field whose corner is at (down, right)."""
    y = corner[0] + (np.arange(shape[0]) + 0.5)[:, None] * pixel[0]
    x = corner[1] + (np.arange(shape[1]) + 0.5)[None, :] * pixel[1]
    return HeightMap(hills(y, x), Sourced(pixel[1], "test"), Sourced(pixel[0], "test"), "formula", "", path)
