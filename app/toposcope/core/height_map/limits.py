"""Sizes that are believed."""

from __future__ import annotations

from typing import Final

from toposcope.core.source.image_file import Unreadable

MOST_HEIGHTS: Final = 1 << 28
"""Heights of the largest map that is taken, 2 GB in memory."""
PACKED: Final = 1100
"""Heights that a byte of a packed file can hold at most."""


def checked_shape(shape: tuple[int, int], file_size: int | None = None) -> tuple[int, int]:
    """Return ``shape`` (rows, columns) if a height map may have it.

    ``file_size`` in bytes is what the heights must come from, None where that is checked elsewhere.

    Raises
    ------
    Unreadable
        If it is a single line, or larger than can be true.
    """
    height, width = shape
    if min(height, width) == 1:
        raise Unreadable(f"holds a profile, one line of {max(height, width)} heights; a height map is needed")
    if height < 1 or width < 1:
        raise Unreadable("holds no heights")
    size = f"{width} × {height} heights"
    if file_size is not None and height * width > PACKED * file_size:
        raise Unreadable(f"is damaged: it says that it has {size}, more than its {file_size} bytes can hold")
    if height * width > MOST_HEIGHTS:
        raise Unreadable(f"says that it has {size}, which is too large; crop it, or save it with fewer points")
    return height, width
