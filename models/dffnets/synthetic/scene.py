"""Scenes as solids: height fields, masks and colours, put one before the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A body whose front surface is a height field, solid behind it.

    ``depth`` (H, W) or one number: where the surface lies, in the lens's unit. ``colour`` (H, W, C)
    linear light, 1 at white. ``mask`` (H, W) in 0..1 tells how much of each pixel the body covers;
    None covers all, as the hindmost body must.
    """

    depth: Floats | float
    colour: Floats
    mask: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Solids from back to front on one canvas, ``margin`` pixels wider than the frames on each side.

    The margin holds what defocus and motion bring into the frame; it should be as wide as the largest
    blur circle. ``towards_lens`` is 1 where greater depths are nearer to the lens (heights) and -1
    where smaller ones are (distances).
    """

    solids: tuple[Solid, ...]
    margin: int
    towards_lens: int = 1

    @property
    def canvas(self) -> tuple[int, int]:
        """Rows and columns, margin included."""
        height, width = self.solids[0].colour.shape[:2]
        return height, width

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return int(self.solids[0].colour.shape[2])

    def depth(self) -> Floats:
        """Return (H, W) depth of the foremost surface, margin included."""
        depth = np.empty(self.canvas, np.float32)
        for solid in self.solids:
            seen = slice(None) if solid.mask is None else solid.mask > 0.5
            depth[seen] = np.broadcast_to(np.float32(solid.depth), self.canvas)[seen]
        return depth

    def all_in_focus(self) -> Floats:
        """Return (H, W, C) the colours of the scene without any blur, margin included."""
        picture = np.zeros((*self.canvas, self.channels), np.float32)
        for solid in self.solids:
            cover = np.float32(1) if solid.mask is None else solid.mask[..., None]
            picture += cover * (solid.colour - picture)
        return picture

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the part of a canvas-sized array that the frames show."""
        if self.margin == 0:
            return plane
        return plane[self.margin : -self.margin, self.margin : -self.margin]
