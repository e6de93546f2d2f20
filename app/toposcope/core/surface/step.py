"""The height of a step between two areas."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.surface.model import Area, Surface
from toposcope.errors import SettingsError, StackError

_RANK: Final = 1e-9  # share of the spread in one direction below which that in the other determines no slope


@dataclass(frozen=True, slots=True)
class Step:
    """How much higher the second of two areas lies than the first.

    ``height_um`` along z; ``tilt_deg`` the slope that both have in common;
    ``residual_um`` the root mean square deviations of the first and of the second from their planes; ``counts`` the
    heights known in each.
    """

    height_um: float
    tilt_deg: float
    residual_um: tuple[float, float]
    counts: tuple[int, int]


def step_height(surface: Surface, a: Area, b: Area) -> Step:
    """Return the height of ``b`` over ``a``: two planes of one slope are fitted to both (after ISO 5436-1).

    All by least squares along z; the height is the distance of the planes along z. Areas are clipped to the surface.

    Raises
    ------
    SettingsError
        If an area lies outside, or both overlap.
    StackError
        If too little is known to tell their slope.
    """
    first, second = (_inside(area, surface) for area in (a, b))
    if max(first.top, second.top) < min(first.bottom, second.bottom) and max(first.left, second.left) < min(
        first.right, second.right
    ):
        raise SettingsError("the two areas of the step overlap. Choose one on each side of it.")
    groups = [_points(surface, area) for area in (first, second)]
    spread = sum(points[:, :2].T @ points[:, :2] for points, _ in groups)
    mixed = sum(points[:, :2].T @ points[:, 2] for points, _ in groups)
    widths = np.linalg.eigvalsh(spread)
    if widths[0] <= _RANK * max(widths[1], 1e-300):
        raise StackError(
            "the slope of the two areas is not determined: too little is known in them, or they are lines. Make them "
            "longer and wider than one pixel."
        )
    slope = np.linalg.solve(spread, mixed)
    # a mean lies on the plane of its area: both planes are carried to the same place
    (_, low), (_, high) = groups
    height = float(high[2] - low[2] - slope @ (high[:2] - low[:2]))
    rest = [math.sqrt(float(np.mean((points[:, 2] - points[:, :2] @ slope) ** 2))) for points, _ in groups]
    tilt = math.degrees(math.atan(float(np.hypot(*slope)) / surface.pixel_um))
    return Step(height, tilt, (rest[0], rest[1]), (len(groups[0][0]), len(groups[1][0])))


def _inside(area: Area, surface: Surface) -> Area:
    inside = area.clipped(surface.shape)
    if 0 in inside.shape:
        height, width = surface.shape
        raise SettingsError(
            f"the area of a step, {area.text}, lies outside of the surface, which has {height} rows and {width} "
            "columns. Choose it within."
        )
    return inside


def _points(surface: Surface, area: Area) -> tuple[Floats, Floats]:
    """Return the known points (n, 3) of an area, as row, column and height less their means, and the means."""
    z = surface.z_um[area.top : area.bottom, area.left : area.right]
    rows, columns = np.nonzero(np.isfinite(z))
    if not rows.size:
        raise StackError(f"no height is known in the area of the step, {area.text}. Choose another one.")
    points = np.column_stack([rows + area.top, columns + area.left, z[rows, columns]]).astype(np.float64)
    means: Floats = points.mean(axis=0)
    return points - means, means
