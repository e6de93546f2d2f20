"""What the areal material ratio curve tells: the core height and its family, and volumes."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.surface.model import FLAT_UM, Parameter

WINDOW: Final = 0.4
"""Share of the curve that the line of the core is laid through."""
PEAKS: Final = 0.1
"""Material ratio above which material is peaks (ISO 25178-3)."""
VALLEYS: Final = 0.8
"""Material ratio below which voids are valleys (ISO 25178-3)."""

_PLACES: Final = 20_000  # along the curve while the window is looked for
_TIE: Final = 1e-9  # share of all heights by which two slopes are the same: the first counts


def core_parameters(z: Floats) -> tuple[Parameter, ...]:
    """Return Sk, Spk, Svk, Smr1 and Smr2 of heights (n,) in ascending order (ISO 25178-2, after ISO 13565-2)."""
    core = peaks = valleys = upper = lower = math.nan
    if z.size and z[-1] - z[0] > FLAT_UM:
        top, bottom = _core_line(z)
        above, below = z[np.searchsorted(z, top, "right") :], z[: np.searchsorted(z, bottom)]
        upper, lower = above.size / z.size, 1 - below.size / z.size
        core = top - bottom
        # triangles as large as what sticks out: of the base Smr1, or 100 % - Smr2
        peaks = 2 * (float(above.mean()) - top) if above.size else 0.0
        valleys = 2 * (bottom - float(below.mean())) if below.size else 0.0
    return (
        Parameter("Sk", "core height", core, "µm", "function"),
        Parameter("Spk", "reduced peak height", peaks, "µm", "function"),
        Parameter("Svk", "reduced valley depth", valleys, "µm", "function"),
        Parameter("Smr1", "material ratio of the peaks", 100 * upper, "%", "function"),
        Parameter("Smr2", "material ratio of the valleys", 100 * lower, "%", "function"),
    )


def _core_line(z: Floats) -> tuple[float, float]:
    """Return the heights at 0 % and 100 % of the line through the window where the curve falls least.

    The window is 40 % of the curve, found by its secant; the line is that of least squares.
    """
    places = min(_PLACES, max(10, z.size))
    ratios = (np.arange(places + 1)) / places
    curve = heights_at(z, ratios)
    width = round(WINDOW * places)
    falls = curve[:-width] - curve[width:]
    first = int(np.argmax(falls <= falls.min() + _TIE * (curve[0] - curve[-1])))
    at, part = ratios[first : first + width + 1], curve[first : first + width + 1]
    middle, mean = at.mean(), part.mean()
    slope = float((at - middle) @ (part - mean) / ((at - middle) @ (at - middle)))
    start = float(mean - slope * middle)
    return start, start + slope


def volume_parameters(z: Floats) -> tuple[Parameter, ...]:
    """Return Vmp, Vmc, Vvc and Vvv of heights (n,) in ascending order: volumes over the area."""
    peaks = material = voids = valleys = math.nan
    if z.size:
        high, low = (float(level) for level in heights_at(z, np.array([PEAKS, VALLEYS])))
        peaks, material = _above(z, high), _above(z, low) - _above(z, high)
        # as much is below a level as the level lies over the mean, and what is above it
        mean = float(z.mean())
        valleys = low - mean + _above(z, low)
        voids = high - mean + _above(z, high) - valleys
    unit = "µm³/µm²"
    return (
        Parameter("Vmp", "peak material volume", peaks, unit, "volume"),
        Parameter("Vmc", "core material volume", material, unit, "volume"),
        Parameter("Vvc", "core void volume", voids, unit, "volume"),
        Parameter("Vvv", "valley void volume", valleys, unit, "volume"),
    )


def _above(z: Floats, level: float) -> float:
    """Return the material above a level, over the area."""
    upper = z[np.searchsorted(z, level) :]
    return (float(upper.sum()) - upper.size * level) / z.size


def heights_at(z: Floats, ratios: Floats) -> Floats:
    """Return the heights at material ratios (0..1) of heights (n,) in ascending order; each stands for 1/n of them."""
    at = (1 - ratios) * z.size - 0.5
    first = np.clip(np.floor(at), 0, z.size - 1).astype(np.intp)
    second = np.minimum(first + 1, z.size - 1)
    share = np.clip(at - first, 0.0, 1.0)
    found: Floats = z[first] * (1 - share) + z[second] * share
    return found
