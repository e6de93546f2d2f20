"""Units, focus coordinates and where each value came from.

Blur grows linearly with the distance from focus in z for a microscope and in 1/distance
(dioptres) for a camera. Peaks are interpolated, and networks are fed, in that *focus coordinate*,
scaled to 0..1 over the stack; users see their own unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from toposcope.errors import CalibrationError

T = TypeVar("T")
Floats = NDArray[np.float64]

Unit = Literal["um", "mm", "m", "index"]
"""Unit of focus positions; ``index`` means that only the order of the slices is known."""

Kind = Literal["microscope", "camera"]
"""``microscope``: positions are z, upwards. ``camera``: positions are distances from the lens."""

Side = Literal["low", "high"]
"""Which end of the positions is nearer to the lens."""

UNITS: Final[tuple[Unit, ...]] = ("um", "mm", "m", "index")
KINDS: Final[tuple[Kind, ...]] = ("microscope", "camera")
MICROMETRES: Final[dict[Unit, float]] = {"um": 1.0, "mm": 1e3, "m": 1e6}
TYPED: Final = "typed in"
"""Where a value comes from that the user gave."""
UNIT_SYMBOLS: Final[dict[Unit, str]] = {"um": "µm", "mm": "mm", "m": "m", "index": "slices"}


@dataclass(frozen=True, slots=True)
class Sourced(Generic[T]):
    """A value with its origin, in words for the user (``"OME PositionZ"``, ``"file name"``).

    ``guessed`` marks values that nobody stated; they are shown as guesses.
    """

    value: T
    origin: str
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Objective:
    """What a file tells of the objective lens; None and "" where it is silent.

    ``na`` is the numerical aperture, ``index`` the refractive index of what lies before the lens.
    """

    name: str = ""
    magnification: float | None = None
    na: float | None = None
    index: float | None = None

    @property
    def text(self) -> str:
        """The objective in a few words.

        >>> Objective("Plan-Apochromat", 50, 1.2, 1.33).text
        'Plan-Apochromat, 50x, NA 1.2, n 1.33'
        """
        parts = [self.name] if self.name else []
        parts += [f"{self.magnification:g}x"] if self.magnification else []
        parts += [f"NA {self.na:g}"] if self.na else []
        parts += [f"n {self.index:.4g}"] if self.index else []
        return ", ".join(parts)


def depth_of_field_um(objective: Objective, wavelength_um: float = 0.55) -> float | None:
    """Return how far from focus a point stays sharp, n λ / NA², in micrometres; None without an aperture.

    >>> round(depth_of_field_um(Objective(na=0.5)), 3)
    2.2
    """
    return (objective.index or 1.0) * wavelength_um / objective.na**2 if objective.na else None


def typical_step(positions: Floats) -> float:
    """Return the usual distance between neighbouring slices: the median of (N,) ascending ``positions``' steps."""
    return float(np.median(np.diff(positions)))


def focus_coordinate(positions: Floats, unit: Unit, kind: Kind) -> Floats:
    """Map positions to the coordinate in which blur is linear, 0..1 over the stack.

    Parameters
    ----------
    positions : (N,) ascending, in ``unit``
    unit : ``index`` is taken as it stands for both kinds: bracketing cameras step the focus motor
        in nearly equal steps of image distance, which is nearly linear in dioptres
    kind : a camera's metric distances are mapped by 1/distance

    Returns
    -------
    (N,) float64, 0 at the lowest and 1 at the highest position, strictly ascending

    Raises
    ------
    CalibrationError
        If a camera's distances are not all positive.
    """
    if kind == "camera" and unit != "index":
        if positions[0] <= 0:
            raise CalibrationError(
                f"camera distances must be above 0, found {positions[0]:g} {unit}. Give distances from "
                "the lens, or choose the kind 'microscope' if the positions are heights."
            )
        positions = -1.0 / positions
    coordinate: Floats = (positions - positions[0]) / (positions[-1] - positions[0])
    return coordinate


def to_coordinate(values: NDArray[np.floating], positions: Floats, unit: Unit, kind: Kind) -> NDArray[np.floating]:
    """Map positions in ``unit`` to the focus coordinate of a stack: 0 at its lowest, 1 at its highest position.

    Any shape; NaN stays NaN. Values beyond the sweep fall outside of 0..1. The dtype of ``values`` is kept.
    """
    low, high = float(positions[0]), float(positions[-1])
    if kind == "camera" and unit != "index":
        return (1.0 / low - 1.0 / values) / (1.0 / low - 1.0 / high)
    return (values - low) / (high - low)


def to_positions(coordinate: NDArray[np.floating], positions: Floats, unit: Unit, kind: Kind) -> NDArray[np.floating]:
    """Map focus coordinates back to positions in ``unit``: the inverse of `focus_coordinate`.

    Any shape; NaN stays NaN. The dtype of ``coordinate`` is kept.
    """
    low, high = float(positions[0]), float(positions[-1])
    if kind == "camera" and unit != "index":
        return 1.0 / (1.0 / low + coordinate * (1.0 / high - 1.0 / low))
    return low + coordinate * (high - low)
