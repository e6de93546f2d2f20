"""Windows over a large picture, and the weights that blend their answers. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tile:
    """A window: rows ``top``..``bottom`` and columns ``left``..``right``, ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The window as an index."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


GRID = 64
"""Tiles begin at multiples of this many pixels, so that what networks pool or cut lies the same in all of them."""


def spans(length: int, tile: int, overlap: int, grid: int = 1) -> list[tuple[int, int]]:
    """Return (begin, end) of windows of ``tile`` that cover 0..length, neighbours sharing at least ``overlap``.

    They are spread evenly over multiples of ``grid`` (of 1 where that leaves too little to share); the last
    takes up to ``grid`` - 1 pixels more.

    >>> spans(100, 60, 16)
    [(0, 60), (40, 100)]
    >>> spans(1000, 512, 128, grid=64)
    [(0, 512), (192, 704), (448, 1000)]
    """
    if length <= tile:
        return [(0, length)]
    grid = grid if tile - overlap >= grid else 1
    step = (tile - overlap) // grid * grid
    count = 1 + -(-(length - tile) // step)
    begins = np.linspace(0, length - tile, count).astype(int) // grid * grid
    return [(int(b), int(b) + tile) for b in begins[:-1]] + [(int(begins[-1]), length)]


def ramp(begin: int, end: int, length: int, overlap: int) -> NDArray[np.float32]:
    """Return weights of one window along one axis: 1 inside, falling to near 0 over ``overlap``.

    No fall where the window ends at the picture's border. Smooth (raised cosine), so that a seam
    has no kink; the outer quarter of the overlap, where the window sees least, counts for nothing
    as long as a neighbour covers it.
    """
    weight = np.ones(end - begin, dtype=np.float64)
    rise = (1 - np.cos(np.pi * np.clip((np.arange(overlap) + 0.5) / overlap * 2 - 0.5, 0, 1))) / 2
    if begin > 0:
        weight[:overlap] *= rise
    if end < length:
        weight[-overlap:] *= rise[::-1]
    return np.maximum(weight, 1e-4).astype(np.float32)


def blend_weights(windows: list[tuple[int, int]], overlap: int) -> list[NDArray[np.float32]]:
    """Return the weights of windows along one axis, as `spans` gives them; at every place they add up to 1."""
    length = windows[-1][1]
    weights = [ramp(begin, end, length, overlap) for begin, end in windows]
    total = np.zeros(length, np.float32)
    for (begin, end), weight in zip(windows, weights, strict=True):
        total[begin:end] += weight
    return [weight / total[begin:end] for (begin, end), weight in zip(windows, weights, strict=True)]
