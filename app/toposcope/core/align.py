"""Align the frames of a stack: scale, shift, rotation and brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AlignMode = Literal["auto", "none"]
"""``auto`` measures first and warps only if that is needed; ``none`` takes frames as they are."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """How one frame lies against the reference frame.

    ``matrix`` (2, 3) float64 maps pixel (column, row) of the reference to pixel (column, row) of
    the frame: a similarity (scale, rotation, shift). ``gain`` multiplies the frame's values to give
    the reference's brightness. ``registered`` is False when the frame could not be registered; it
    then carries its neighbours' motion and is reported.
    """

    matrix: NDArray[np.float64]
    gain: float = 1.0
    registered: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Motions of all frames, (N) in the order of the stack, against frame ``reference``.

    ``needed`` is False when the stack was found steady and is not warped; ``text`` says in words
    what was found ("magnification changes by 16 %, drift 2.2 %: aligned").
    """

    motions: tuple[Motion, ...]
    reference: int
    needed: bool
    text: str
