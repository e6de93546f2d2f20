"""What a sweep is to do: range, step, exposure, direction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.stack import MIN_FRAMES
from toposcope.errors import SettingsError

MAX_SLICES: Final = 5000
MIN_EXPOSURE_MS: Final = 0.001
MAX_EXPOSURE_MS: Final = 600_000.0


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A sweep from ``bottom_um`` to ``top_um``, both taken; checks itself when made.

    Steps are equal and at most ``step_um``: the range is kept exactly, so that the stage goes nowhere where it was
    not sent. ``exposure_ms`` None leaves the camera as it is. ``downwards`` begins at the top. ``settle_s`` is waited
    after each move. The stage comes to the first slice from one step before it, so that all slices are met from the
    same side and the play of its gear does not enter.
    """

    bottom_um: float
    top_um: float
    step_um: float
    exposure_ms: float | None = None
    downwards: bool = False
    settle_s: float = 0.0
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        values = (self.bottom_um, self.top_um, self.step_um, self.settle_s, self.timeout_s)
        if not all(math.isfinite(value) for value in values):
            raise SettingsError("top, bottom, step and times of a sweep must be finite numbers.")
        if self.top_um <= self.bottom_um:
            raise SettingsError(
                f"the top of the sweep ({self.top_um:g} µm) must be above its bottom ({self.bottom_um:g} µm). "
                "Exchange the two to sweep the same range."
            )
        if self.step_um <= 0:
            raise SettingsError(f"the step is {self.step_um:g} µm; it must be above 0.")
        if self.step_um > (self.top_um - self.bottom_um) / (MIN_FRAMES - 1) * (1 + 1e-9):
            raise SettingsError(
                f"a step of {self.step_um:g} µm gives fewer than {MIN_FRAMES} slices over "
                f"{self.top_um - self.bottom_um:g} µm. Take a step of at most "
                f"{(self.top_um - self.bottom_um) / (MIN_FRAMES - 1):g} µm."
            )
        if self.n > MAX_SLICES:
            raise SettingsError(
                f"{self.n} slices are more than {MAX_SLICES}. Take a step of at least "
                f"{(self.top_um - self.bottom_um) / (MAX_SLICES - 1):.3g} µm, or a smaller range."
            )
        if self.exposure_ms is not None and not MIN_EXPOSURE_MS <= self.exposure_ms <= MAX_EXPOSURE_MS:
            raise SettingsError(
                f"an exposure of {self.exposure_ms:g} ms is out of range: {MIN_EXPOSURE_MS:g} to "
                f"{MAX_EXPOSURE_MS:g} ms."
            )
        if self.settle_s < 0 or self.timeout_s <= 0:
            raise SettingsError("the time to settle must not be below 0, and the time that a move may take not 0.")

    @property
    def n(self) -> int:
        """Number of slices."""
        return 1 + math.ceil((self.top_um - self.bottom_um) / self.step_um * (1 - 1e-9))

    @property
    def pitch_um(self) -> float:
        """The step that is taken: ``step_um``, or a little less so that the steps fill the range."""
        return (self.top_um - self.bottom_um) / (self.n - 1)

    @property
    def positions_um(self) -> Floats:
        """Where the slices lie: (n,) float64, ascending whatever the direction."""
        return np.linspace(self.bottom_um, self.top_um, self.n)

    @property
    def order(self) -> tuple[int, ...]:
        """The slices in the order in which they are taken."""
        return tuple(range(self.n))[:: -1 if self.downwards else 1]

    def check_limits(self, limits_um: tuple[float, float] | None) -> None:
        """Refuse a sweep that leaves what the stage may do.

        Raises
        ------
        SettingsError
            If it does.
        """
        if limits_um is None:
            return
        low, high = limits_um
        if self.bottom_um < low or self.top_um > high:
            raise SettingsError(
                f"the sweep from {self.bottom_um:g} to {self.top_um:g} µm leaves the range of the stage, "
                f"{low:g} to {high:g} µm."
            )

    def approach_um(self, first_um: float, limits_um: tuple[float, float] | None) -> float:
        """Return where the stage goes before it comes to ``first_um``: one step before it, within its limits."""
        before = first_um + (self.pitch_um if self.downwards else -self.pitch_um)
        return before if limits_um is None else min(max(before, limits_um[0]), limits_um[1])

    def seconds(self, exposure_ms: float, move_s: float = 0.15) -> float:
        """Return about how long the sweep will take, with ``move_s`` seconds for a move and what the disk needs."""
        return self.n * ((self.exposure_ms or exposure_ms) / 1e3 + self.settle_s + move_s)
