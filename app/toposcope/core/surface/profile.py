"""Heights along a straight line, and their parameters after ISO 21920-2."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.surface.areal import height_parameters
from toposcope.core.surface.model import Parameter, Surface
from toposcope.core.surface.sampling import between
from toposcope.errors import SettingsError

_NEAR: Final = 1e-9  # pixels: rounding must not add a point


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Heights along a straight line.

    ``distance_um`` (K,) from its start, ``z_um`` (K,) heights, NaN where void or outside; both in micrometres.
    ``start`` and ``end`` are points (row, column) of the surface.
    """

    distance_um: Floats
    z_um: Floats
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length_um(self) -> float:
        """From start to end."""
        return float(self.distance_um[-1])


def profile_along(surface: Surface, start: tuple[float, float], end: tuple[float, float], width_px: int = 1) -> Profile:
    """Return the heights from ``start`` to ``end``, both (row, column), about one a pixel.

    Linear between neighbours; NaN where one of them is void, and outside. With a width, it is the mean over so many
    parallel lines a pixel apart, of those that are known.

    Raises
    ------
    SettingsError
        If the width is less than one line.
    """
    if width_px < 1:
        raise SettingsError(f"a profile of {width_px} lines has no heights. Give it a width of 1 or more.")
    down, right = end[0] - start[0], end[1] - start[1]
    length = math.hypot(down, right)
    steps = math.ceil(length - _NEAR)
    along = np.linspace(0.0, 1.0, steps + 1)
    across = (-right / length, down / length) if length else (0.0, 0.0)
    total, count = np.zeros(steps + 1), np.zeros(steps + 1)
    for line in range(width_px):
        aside = line - (width_px - 1) / 2
        rows = start[0] + along * down + aside * across[0]
        columns = start[1] + along * right + aside * across[1]
        z = between(surface.z_um, rows, columns)
        known = np.isfinite(z)
        total[known] += z[known]
        count += known
    mean = np.divide(total, count, out=np.full(steps + 1, np.nan), where=count > 0)
    return Profile(along * length * surface.pixel_um, mean, start, end)


def profile_parameters(profile: Profile, report: Report = silent) -> tuple[Parameter, ...]:
    """Return the parameters of the primary profile: of its heights less their least-squares line.

    The whole length is one section, so that Pz, the mean over sections, is Pt. NaN where fewer than two are known.
    """
    report(Progress(0.0, "profile"))
    known = np.isfinite(profile.z_um)
    x, z = profile.distance_um[known], profile.z_um[known]
    if z.size >= 2:
        x, z = x - x.mean(), z - z.mean()
        z = z - x * float(x @ z) / float(x @ x)
    else:
        z = z[:0]
    heights = height_parameters(z, "P")
    total = next(one.value for one in heights if one.name == "Pz")
    report(Progress(1.0, "profile"))
    return (*heights, Parameter("Pt", "total height", total, "µm", "profile"))


def profile_csv(profile: Profile) -> str:
    """Return a profile as CSV text: ``distance_um,z_um,row,column``; heights are empty where void."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["distance_um", "z_um", "row", "column"])
    n = len(profile.z_um)
    rows, columns = (np.linspace(a, b, n) for a, b in zip(profile.start, profile.end, strict=True))
    for distance, z, row, column in zip(profile.distance_um, profile.z_um, rows, columns, strict=True):
        height = "" if math.isnan(z) else f"{z:.9g}"
        writer.writerow([f"{distance:.9g}", height, f"{row:.7g}", f"{column:.7g}"])
    return file.getvalue()
