"""What the autocorrelation of a surface tells: how far its shape goes on, and whether in all directions alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, silent
from toposcope.core.surface.model import FLAT_UM, Parameter, Surface

THRESHOLD: Final = 0.2
"""The autocorrelation has died away where it falls to this (ISO 25178-3)."""

_RAYS: Final = 720  # directions in half a turn: the other half is the same
_FINER: Final = 20  # directions to both sides while the longest and the shortest are looked for
_LEVELS: Final = 3
_STEP_PX: Final = 0.5
_NEAR: Final = 1e-9  # pixels: rounding is not outside


def spatial_parameters(surface: Surface, report: Report = silent) -> tuple[Parameter, ...]:
    """Return Sal and Str; NaN where the autocorrelation does not fall to `THRESHOLD` within half of the area.

    Sal is the way along which it falls to it first; Str the ratio of that to the longest one, over all directions.
    """
    nearest = ratio = math.nan
    found = autocorrelation(surface.z_um, report)
    if found is not None:
        turns: Floats = np.arange(_RAYS, dtype=np.float64) * (math.pi / _RAYS)
        ways = _ways(found, turns)
        if np.isfinite(ways).any():
            nearest = _extreme(found, float(turns[int(np.nanargmin(ways))]), np.nanargmin)
        if np.isfinite(ways).all():
            longest = _extreme(found, float(turns[int(np.argmax(ways))]), np.argmax)  # NaN counts as the longest
            ratio = nearest / longest
    report(Progress(1.0, "autocorrelation"))
    return (
        Parameter("Sal", "autocorrelation length", nearest * surface.pixel_um, "µm", "spatial"),
        Parameter("Str", "texture aspect ratio", ratio, "", "spatial"),
    )


def autocorrelation(z: Floats, report: Report = silent) -> Floats | None:
    """Return the autocorrelation (2a+1, 2b+1) of heights for shifts up to half of rows and columns, 1 at the middle.

    At each shift it is the mean product of the heights that are known in both, over the mean square of all. None where
    the surface is flat, or nothing is known; NaN at shifts where no two known heights meet.
    """
    from scipy import fft  # here, since the window imports this module before it is shown

    known = np.isfinite(z)
    count = int(np.count_nonzero(known))
    if count == 0:
        return None
    values = np.where(known, z, 0.0)
    values -= known * (values.sum() / count)
    square = float((values * values).sum()) / count
    if square <= FLAT_UM**2:
        return None
    reach = z.shape[0] // 2, z.shape[1] // 2
    # larger shifts come back as small ones in what is not needed
    size = [fft.next_fast_len(n + r, real=True) for n, r in zip(z.shape, reach, strict=True)]

    def correlated(one: Floats) -> Floats:
        spectrum = fft.rfft2(one, size)
        shifts: Floats = fft.irfft2(spectrum.real**2 + spectrum.imag**2, size)
        rows, columns = (np.arange(-r, r + 1) for r in reach)
        wanted: Floats = shifts[np.ix_(rows, columns)]
        return wanted

    report(Progress(0.1, "autocorrelation"))
    products = correlated(values)
    report(Progress(0.5, "autocorrelation"))
    if count == z.size:
        down, right = (n - np.abs(np.arange(-r, r + 1)) for n, r in zip(z.shape, reach, strict=True))
        pairs = down[:, None] * right[None, :].astype(np.float64)
    else:
        pairs = np.rint(correlated(known.astype(np.float64)))
    report(Progress(0.9, "autocorrelation"))
    pairs[pairs < 1] = np.nan
    found: Floats = products / pairs
    found /= square
    return found


def _ways(correlation: Floats, turns: Floats) -> Floats:
    """Return the way in pixels to where the autocorrelation first falls to the threshold, NaN where it does not."""
    middle = correlation.shape[0] // 2, correlation.shape[1] // 2
    found = np.full(turns.shape, np.nan)
    down, right = np.sin(turns), np.cos(turns)
    open_ = np.arange(turns.size)
    before = np.ones(turns.size)
    limit = math.hypot(*middle)
    for step in range(1, math.ceil(limit / _STEP_PX) + 1):
        way = step * _STEP_PX
        rows, columns = middle[0] + way * down[open_], middle[1] + way * right[open_]
        here = _between(correlation, rows, columns)
        fallen = here <= THRESHOLD
        if fallen.any():
            steep = before[fallen] - here[fallen]
            found[open_[fallen]] = way - _STEP_PX * (THRESHOLD - here[fallen]) / steep
        on = here > THRESHOLD  # rays that leave the area, or meet what is not known, end without an answer
        open_, before = open_[on], here[on]
        if not open_.size:
            break
    return found


def _extreme(correlation: Floats, turn: float, place: Callable[[Floats], Any]) -> float:
    """Return the shortest or the longest way near a direction, by ever finer steps; ``place`` tells which of ways."""
    width = math.pi / _RAYS
    best = math.nan
    for _ in range(_LEVELS):
        turns: Floats = turn + np.linspace(-width, width, 2 * _FINER + 1)
        ways = _ways(correlation, turns)
        at = int(place(ways))
        turn, best = float(turns[at]), float(ways[at])
        width /= _FINER / 2
    return best


def _between(values: Floats, rows: Floats, columns: Floats) -> Floats:
    """Return (n,) values at points, linear between neighbours; those without weight do not count; NaN outside."""
    height, width = values.shape
    inside = (np.abs(rows - (height - 1) / 2) <= (height - 1) / 2 + _NEAR) & (
        np.abs(columns - (width - 1) / 2) <= (width - 1) / 2 + _NEAR
    )
    r, c = np.where(inside, rows, 0.0), np.where(inside, columns, 0.0)
    r0, c0 = (np.clip(np.floor(at), 0, max(n - 2, 0)).astype(np.intp) for at, n in ((r, height), (c, width)))
    r1, c1 = np.minimum(r0 + 1, height - 1), np.minimum(c0 + 1, width - 1)
    fr, fc = _share(r - r0), _share(c - c0)
    out = np.where(inside, 0.0, np.nan)
    for row, down in ((r0, 1 - fr), (r1, fr)):
        for column, right in ((c0, 1 - fc), (c1, fc)):
            weight = down * right
            out += np.where(weight > 0, weight * values[row, column], 0.0)
    return out


def _share(share: Floats) -> Floats:
    """Return shares (n,) of the second neighbour, 0 and 1 where rounding keeps them from it: it may not be known."""
    whole = np.rint(share)
    return np.where(np.abs(share - whole) < _NEAR, np.clip(whole, 0.0, 1.0), share)
