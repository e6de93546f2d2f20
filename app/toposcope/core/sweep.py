"""What this sweep lacks: plain words about the capture, for the next capture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Lack = Literal["cut_low", "cut_high", "coarse_step", "idle_slices", "over_exposed", "motion", "textureless"]
"""What a sweep can lack. The order is also the code in `SweepReport.map`, from 1; 0 is "nothing"."""


@dataclass(frozen=True, slots=True)
class SweepNote:
    """One lack: its kind, a sentence for the user, the share of pixels (or slices) in 0..1."""

    lack: Lack
    text: str
    share: float


@dataclass(frozen=True, slots=True, eq=False)
class SweepReport:
    """All lacks of a sweep, gravest first, and where they lie: (H, W) uint8 codes."""

    notes: tuple[SweepNote, ...]
    map: NDArray[np.uint8]
