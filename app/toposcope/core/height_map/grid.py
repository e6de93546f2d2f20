"""Heights from one grid on another. Grids lie parallel; what was not measured spreads no further than it must."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, silent

COARSER: Final = 1.01
"""A grid coarser than the heights by more than this takes their means, so that no detail is missed or aliased."""
HALF: Final = 0.5 - 1e-9
"""Share of a place that must have been measured for it to count as known."""

_BAND: Final = 1 << 20  # places at a time


def resampled(
    z: Floats,
    pixels: tuple[float, float],
    shape: tuple[int, int],
    pitch: float,
    corner: tuple[float, float],
    report: Report = silent,
) -> Floats:
    """Return heights at the middles of the pixels of another grid, interpolated linearly; NaN outside and in voids.

    Parameters
    ----------
    z : (h, w), NaN in voids
    pixels : distances of its rows and columns, in any unit
    shape, pitch : (H, W) of the other grid and the side of its pixels, in the same unit
    corner : where the upper left corner of ``z`` lies on the other grid, (down, right), in the same unit
    """
    known = np.isfinite(z)
    values, weights = np.where(known, z, 0.0), known.astype(np.float64)
    h, w = z.shape
    small = tuple(
        max(1, round(n * pixel / pitch)) if pitch > COARSER * pixel else n
        for n, pixel in zip((h, w), pixels, strict=True)
    )
    if small != (h, w):
        share = _means(weights, small)
        values = _means(values, small) / np.maximum(share, 1e-9)
        weights = (share >= HALF).astype(np.float64)
        values *= weights
        pixels = pixels[0] * h / small[0], pixels[1] * w / small[1]
    rows = _places(shape[0], pitch, corner[0], pixels[0], small[0])
    columns = _places(shape[1], pitch, corner[1], pixels[1], small[1])
    out = np.full(shape, np.nan)
    band = max(1, _BAND // max(1, shape[1]))
    for top in range(0, shape[0], band):
        report(Progress(top / shape[0], "laying heights over each other"))
        part = tuple(one[top : top + band] for one in rows)
        share = _between(weights, part, columns)
        heights = _between(values, part, columns)
        good = share >= HALF
        out[top : top + band][good] = heights[good] / share[good]
    return out


def _means(values: Floats, shape: tuple[int, ...]) -> Floats:
    return np.asarray(cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.float64)


_Places = tuple[NDArray[np.intp], NDArray[np.intp], Floats, NDArray[np.bool_]]


def _places(count: int, pitch: float, corner: float, pixel: float, n: int) -> _Places:
    """Return, for each place of a grid line, its two neighbours among ``n``, the share of the second, and if inside."""
    at = ((np.arange(count) + 0.5) * pitch - corner) / pixel - 0.5
    inside = (at >= -0.5 - 1e-9) & (at <= n - 0.5 + 1e-9)
    at = np.clip(at, 0, n - 1)
    near = np.rint(at)
    at = np.where(np.abs(at - near) < 1e-7, near, at)  # rounding must not pull a void into its neighbour
    first = np.minimum(at.astype(np.intp), max(n - 2, 0))
    return first, np.minimum(first + 1, n - 1), at - first, inside


def _between(values: Floats, rows: tuple[NDArray[np.generic], ...], columns: _Places) -> Floats:
    r0, r1, fr, r_in = rows
    c0, c1, fc, c_in = columns
    down = np.asarray(fr, np.float64)[:, None]
    lines = values[r0] * (1 - down) + values[r1] * down
    mixed: Floats = lines[:, c0] * (1 - fc) + lines[:, c1] * fc
    mixed[~np.asarray(r_in, bool)] = 0.0
    mixed[:, ~c_in] = 0.0
    return mixed
