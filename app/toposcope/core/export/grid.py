"""Surfaces as grids of heights and colours, ready to be joined to triangles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import typical_step
from toposcope.core.export.images import in_bits
from toposcope.core.result import DepthResult
from toposcope.errors import OutputError

BAND_ROWS: Final = 64
RELIEF: Final = 0.25
"""Without a scale, heights are drawn so that they span this share of the width."""


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Heights on a grid, ready to be joined: ``z`` (H, W) NaN in voids; ``pitch`` between columns, both in ``unit``.

    It holds ``every`` so-many-th row and column of the map.
    """

    z: NDArray[np.float32]
    colour: NDArray[np.uint8]
    pitch: float
    unit: str
    jump: float
    every: int

    def places(self, rows: slice) -> NDArray[np.float32]:
        """Return (rows, W, 3) x right, y up, z towards the lens."""
        height, width = self.z.shape
        y, x = np.meshgrid(np.arange(height)[rows], np.arange(width), indexing="ij")
        places = np.stack([x * self.pitch, (height - 1 - y) * self.pitch, self.z[rows]], axis=2)
        return places.astype(np.float32)

    def triangles(self) -> Iterator[NDArray[np.intp]]:
        """Yield (T, 3) flat pixel numbers, counter-clockwise seen from the lens, a band of rows at a time."""
        height, width = self.z.shape
        z = self.z.ravel()
        for top in range(0, height - 1, BAND_ROWS):
            rows = np.arange(top, min(top + BAND_ROWS, height - 1))[:, None]
            a = rows * width + np.arange(width - 1)
            b, d, e = a + 1, a + width, a + width + 1
            # cut each square so that a single void corner leaves the triangle of the other three
            other = np.isnan(z[b]) | np.isnan(z[d])
            first = np.stack([a, d, np.where(other, e, b)], axis=2)
            second = np.stack([np.where(other, a, b), np.where(other, e, d), np.where(other, b, e)], axis=2)
            corners = np.stack([first, second], axis=2).reshape(-1, 3)
            heights = z[corners]
            spread = heights.max(axis=1) - heights.min(axis=1)  # NaN where a corner is void
            yield corners[spread <= self.jump]


def grid_of(result: DepthResult, max_points: int, cut_steps: float) -> Grid:
    """Return heights and colours thinned to ``max_points``, in one unit for all axes where that is known."""
    if not result.valid.any():
        raise OutputError("there is no surface to write: no pixel has a known depth. Try another method or stack.")
    height, width = result.shape
    every = int(np.ceil(np.sqrt(height * width / max(max_points, 4))))
    heights = result.heights()
    z = np.ascontiguousarray(heights[::every, ::every])
    colour = result.all_in_focus
    if every > 1:  # colours are averaged; heights are picked, so that each is one that was measured
        colour = cv2.resize(colour, (z.shape[1], z.shape[0]), interpolation=cv2.INTER_AREA)
    colour = in_bits(colour, 8)
    if colour.ndim == 2:
        colour = np.repeat(colour[..., None], 3, axis=2)
    if result.pixel_pitch is not None:
        pitch, unit, factor = every * result.pixel_pitch, str(result.unit), 1.0
    else:
        span = float(np.nanmax(z) - np.nanmin(z))
        factor = RELIEF * width / span if span > 0 else 1.0
        pitch, unit = float(every), f"pixel (no pixel size known: heights are {result.unit} times {factor:.6g})"
    jump = cut_steps * typical_step(result.positions.value) * factor if cut_steps > 0 else np.inf
    return Grid(z * np.float32(factor), np.asarray(colour, np.uint8), pitch, unit, jump, every)
