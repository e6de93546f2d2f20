"""What a surface is, a part of it, and a number that tells something of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from toposcope.core.calibration import Floats
from toposcope.core.height_map.model import HeightMap, from_result, squared
from toposcope.core.jobs import Report, silent
from toposcope.core.result import DepthResult
from toposcope.core.words import measured
from toposcope.errors import CalibrationError

FLAT_UM: Final = 1e-9
"""Root mean square height below which a surface is flat: what is left is rounding, and has no shape."""

PARAMETER_GROUPS: Final = {
    "height": "Height",
    "hybrid": "Slope and area",
    "spatial": "Texture",
    "function": "Bearing curve",
    "volume": "Volume",
}
"""Groups of areal parameters in the order in which they are told, with their titles."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Heights to be measured.

    ``z_um`` (H, W) float64 in micrometres, growing towards the lens, NaN in voids; ``pixel_um`` the side of a pixel;
    ``operations`` say what was done to them, in words for users, in order.
    """

    z_um: Floats
    pixel_um: float
    operations: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.z_um.shape[0]), int(self.z_um.shape[1])

    @property
    def extent_um(self) -> tuple[float, float]:
        """Height and width of the field in micrometres."""
        return self.shape[0] * self.pixel_um, self.shape[1] * self.pixel_um


def surface_of(result: DepthResult) -> Surface:
    """Return the heights of a result as a surface.

    Raises
    ------
    CalibrationError
        If its depths are counted in slices, or the size of its pixels is not known.
    """
    height_map = from_result(result)
    pixels = height_map.pixels_um
    if pixels is None:
        raise CalibrationError(
            "to measure a surface, the size of its pixels is needed, and none is known. Give it in the calibration of "
            "the stack, and compute the result again.",
            option="--pixel-size of toposcope depth",
        )
    return Surface(height_map.z_um, pixels[1])


def height_surface(height_map: HeightMap, report: Report = silent) -> Surface:
    """Return what an instrument has measured as a surface: with square pixels.

    Raises
    ------
    CalibrationError
        If the size of its pixels is not known.
    """
    square = squared(height_map, report)
    pixels = square.pixels_um
    if pixels is None:
        raise CalibrationError(
            f"to measure a surface, the size of its pixels is needed, and {height_map.name} does not tell it. Save it "
            "with its pixel size by the instrument's program."
        )
    return Surface(square.z_um, pixels[1], square.notes[len(height_map.notes) :])


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of pixels: rows ``top`` to before ``bottom``, columns ``left`` to before ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def of_corners(cls, a: tuple[float, float], b: tuple[float, float]) -> Area:
        """Return the area of two opposite corners (row, column), whose pixels both belong to it.

        >>> Area.of_corners((5, 2), (3, 9))
        Area(top=3, left=2, bottom=6, right=10)
        """
        (top, bottom), (left, right) = (sorted((round(i), round(j))) for i, j in zip(a, b, strict=True))
        return cls(top, left, bottom + 1, right + 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; 0 where there are none."""
        return max(0, self.bottom - self.top), max(0, self.right - self.left)

    @property
    def text(self) -> str:
        """Where it lies, for users: its first and last rows and columns."""
        return f"rows {self.top} to {self.bottom - 1}, columns {self.left} to {self.right - 1}"

    def holds(self, row: float, column: float) -> bool:
        """Whether a pixel belongs to it."""
        return self.top <= row < self.bottom and self.left <= column < self.right

    def clipped(self, shape: tuple[int, int]) -> Area:
        """Return the part that lies on ``shape`` (rows, columns); empty where there is none."""
        top, left = max(0, self.top), max(0, self.left)
        return Area(top, left, max(top, min(self.bottom, shape[0])), max(left, min(self.right, shape[1])))


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that tells something of a surface or of a profile.

    ``name`` as standards write it (Sq); ``title`` in words; ``value`` in ``unit``, NaN where it is not defined;
    ``group`` height, hybrid, spatial, function, volume or profile.
    """

    name: str
    title: str
    value: float
    unit: str
    group: str

    @property
    def text(self) -> str:
        """The value with its unit, for users; a dash where it is not defined.

        >>> Parameter("Sq", "root mean square height", 0.70711, "µm", "height").text
        '0.7071 µm'
        """
        return f"{measured(self.value)} {self.unit}".rstrip() if math.isfinite(self.value) else "–"


def parameter_rows(parameters: Iterable[Parameter]) -> list[tuple[str, str, str]]:
    """Return (name, value with unit, title) of each, for users."""
    return [(one.name, one.text, one.title) for one in parameters]
