"""Pictures for the screen: 8 bit, at several sizes, so that 45 megapixels pan without effort.

A zoomed-out picture drawn from its full size costs time and shows moiré; each pyramid level is the
area average of the one below it (figures: a 45 MP level costs 23 ms to build, drawing 5-10 ms).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W) grey or (H, W, 3) RGB, contiguous."""

SMALLEST: Final = 512
"""Levels are made until both sides are below this, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """One picture at several sizes.

    ``shape`` (H, W) is the size that the picture stands for; ``levels`` are (reduction, picture),
    finest first. A preview has no level of reduction 1.
    """

    shape: tuple[int, int]
    levels: tuple[tuple[float, Picture], ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(level.nbytes for _, level in self.levels)

    @property
    def finest(self) -> Picture:
        """The largest picture there is."""
        return self.levels[0][1]

    def level_for(self, screen_per_pixel: float) -> tuple[float, Picture]:
        """Return the coarsest level that still has a sample for each screen pixel.

        ``screen_per_pixel`` is the zoom: screen pixels per full-size pixel.
        """
        chosen = self.levels[0]
        for level in self.levels[1:]:
            if level[0] * screen_per_pixel > 1:
                break
            chosen = level
        return chosen


def make_pyramid(picture: Picture, shape: tuple[int, int] | None = None) -> Pyramid:
    """Build the levels of ``picture``, which stands for a picture of ``shape`` (its own if None)."""
    shape = shape or (picture.shape[0], picture.shape[1])
    picture = np.ascontiguousarray(picture)
    reduction = shape[1] / picture.shape[1]
    levels = [(reduction, picture)]
    while max(picture.shape[:2]) > SMALLEST:
        size = (-(-picture.shape[1] // 2), -(-picture.shape[0] // 2))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        reduction *= 2
        levels.append((reduction, picture))
    return Pyramid(shape, tuple(levels))
