"""What an estimation returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from toposcope.core.align import Alignment
from toposcope.core.calibration import MICROMETRES, UNIT_SYMBOLS, Floats, Kind, Objective, Side, Sourced, Unit
from toposcope.core.stack import FrameTags, Plane
from toposcope.core.sweep import SweepReport
from toposcope.core.volume import FocusVolume

PROJECT_SUFFIX: Final = ".toposcope"
"""How files of projects end (see `toposcope.core.project`)."""
RESULT_NAME: Final = "result.json"
"""File of a stored result that says how it came to be (see `toposcope.core.export`)."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a result came to be: enough to make it again.

    ``seconds`` of wall time; ``inputs`` maps the name of each file to its SHA-256, as
    `toposcope.core.provenance.input_hashes` returns it. ``parts`` says which channel, time and position of a file.
    """

    version: str
    method: str
    settings: Mapping[str, Any]
    source: str
    frames: tuple[str, ...]
    seconds: float
    inputs: Mapping[str, str]
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DepthResult:
    """Depth of a stack, and all that goes with it.

    ``depth`` (H, W) float32: position of best focus in the stack's unit, NaN where not known;
    ``confidence`` (H, W) float32 in 0..1; ``valid`` (H, W) bool, False exactly where depth is NaN;
    ``all_in_focus`` (H, W) or (H, W, 3) in the stack's own dtype; ``tags`` what it inherits from the
    reference frame. H and W are those of the reference frame of the alignment.
    """

    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    valid: NDArray[np.bool_]
    all_in_focus: Plane
    tags: FrameTags
    positions: Sourced[Floats]
    unit: Unit
    kind: Sourced[Kind]
    near: Sourced[Side]
    pixel_um: Sourced[float] | None
    alignment: Alignment | None
    volume: FocusVolume | None
    sweep: SweepReport
    provenance: Provenance
    objective: Sourced[Objective] | None = None

    def __repr__(self) -> str:
        height, width = self.shape
        share = f"{100 * self.valid.mean():.1f} % known"
        return f"<DepthResult by {self.provenance.method}: {height} x {width}, {share}, in {self.unit}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.depth.shape[0]), int(self.depth.shape[1])

    @property
    def unit_symbol(self) -> str:
        """The unit as it is written for users."""
        return UNIT_SYMBOLS[self.unit]

    @property
    def pixel_pitch(self) -> float | None:
        """The side of a pixel in the unit of the depth, None where no scale joins the two."""
        if self.pixel_um is None or self.unit == "index":
            return None
        return self.pixel_um.value / MICROMETRES[self.unit]

    def heights(self) -> NDArray[np.float32]:
        """Return (H, W) heights that grow towards the lens, in the stack's unit, NaN in voids.

        The lowest position of the sweep is height 0 where high positions are near, the highest
        position where low positions are near (a camera's distances).
        """
        if self.near.value == "high":
            return self.depth - np.float32(self.positions.value[0])
        return np.float32(self.positions.value[-1]) - self.depth
