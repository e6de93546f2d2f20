"""The focus curve of one pixel: how sharp it is in each slice, and what that says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape = Literal["clear", "two_peaks", "many_peaks", "flat", "at_first", "at_last", "void"]
"""What a focus curve looks like; `Verdict.text` says it in words."""


@dataclass(frozen=True, slots=True)
class Peak:
    """One peak of a curve: its place in the stack's unit, its share of the total probability."""

    position: float
    probability: float
    slice_index: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a curve says about its pixel: one of a few shapes, and a sentence for the user."""

    shape: Shape
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class FocusCurve:
    """Everything known about the focus of one pixel.

    ``positions`` (N,) in the stack's unit, ascending; ``probability`` (N,) float32, sums to 1;
    ``measure`` (N,) float32, the raw focus measure, or None where the method has none (networks);
    ``peaks`` the peaks, strongest first; ``position`` the sub-slice peak of this curve in the
    stack's unit, NaN when there is none; ``width`` its full width at half maximum, NaN likewise;
    ``depth`` the value of the depth map at the pixel after regularisation, NaN in a void;
    ``fit`` (M, 2) float64 samples (position, probability) of the fitted peak, for drawing.
    """

    row: int
    column: int
    positions: NDArray[np.float64]
    probability: NDArray[np.float32]
    measure: NDArray[np.float32] | None
    peaks: tuple[Peak, ...]
    position: float
    width: float
    depth: float
    fit: NDArray[np.float64]
    verdict: Verdict
    unit_symbol: str
