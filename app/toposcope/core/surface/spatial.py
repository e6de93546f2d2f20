"""What the autocorrelation of a surface tells: how far its shape goes on, and whether in all directions alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from toposcope.core.calibration import Floats
from toposcope.core.jobs import Progress, Report, part, silent
from toposcope.core.surface.model import FLAT_UM, Parameter, Surface
from toposcope.core.surface.sampling import between

THRESHOLD: Final = 0.2
"""The autocorrelation has died away where it falls to this (ISO 25178-3)."""

_RAYS: Final = 720  # directions in half a turn: the other half is the same
_FINER: Final = 20  # directions to both sides while the longest and the shortest are looked for
_LEVELS: Final = 3
_STEP_PX: Final = 0.5
_BAND: Final = 1 << 20  # values in a transform at a time


def spatial_parameters(surface: Surface, report: Report = silent) -> tuple[Parameter, ...]:
    """Return Sal and Str; NaN where the autocorrelation does not fall to `THRESHOLD` within half of the area.

    Sal is the way along which it falls to it first; Str the ratio of that to the longest one, over all directions.
    """
    nearest = ratio = math.nan
    found = autocorrelation(surface.z_um, part(report, 0.0, 0.9))
    report(Progress(0.9, "autocorrelation"))
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
    """Return the autocorrelation of heights for shifts of 0 to a rows down and of b columns to the left or right.

    (a+1, 2b+1), a and b half of rows and columns; shifts upwards are the same turned by 180°. At each shift it is the
    mean product of the heights that are known in both, over the mean square of all: 1 at (0, b). None where the surface
    is flat, or nothing is known; NaN at shifts where no two known heights meet.
    """
    known = np.isfinite(z)
    count = int(np.count_nonzero(known))
    if count == 0:
        return None
    values = np.where(known, z, 0.0)
    values -= known * (values.sum() / count)
    square = float(np.vdot(values, values)) / count
    if square <= FLAT_UM**2:
        return None
    height, width = z.shape
    reach = height // 2, width // 2
    found = _correlated(values, reach, part(report, 0.0, 0.5))
    del values
    if count == z.size:
        down, right = height - np.arange(reach[0] + 1.0), width - np.abs(np.arange(-reach[1], reach[1] + 1.0))
        found /= down[:, None]
        found /= right
    else:
        pairs = np.rint(_correlated(known.astype(np.float64), reach, part(report, 0.5, 1.0)))
        pairs[pairs < 1] = np.nan
        found /= pairs
    found /= square
    return found


def _correlated(values: Floats, reach: tuple[int, int], report: Report) -> Floats:
    """Return the sums of products at shifts of 0 to ``reach`` rows and of - to + ``reach`` columns, by transforms.

    Along rows, then along columns and back, then along rows back: bands at a time.
    """
    from scipy import fft  # here, since the window imports this module before it is shown

    height = values.shape[0]
    down, right = reach
    # larger shifts come back as small ones in what is not needed
    rows, columns = (int(fft.next_fast_len(n + r, real=True)) for n, r in zip(values.shape, reach, strict=True))
    half = columns // 2 + 1
    lines = np.empty((height, half), np.complex128)
    band = max(1, _BAND // columns)
    for top in range(0, height, band):
        report(Progress(0.3 * top / height, "autocorrelation"))
        lines[top : top + band] = fft.rfft(values[top : top + band], columns, axis=1)
    kept = np.empty((down + 1, half), np.complex128)
    band = max(1, _BAND // (2 * rows))
    for left in range(0, half, band):
        report(Progress(0.3 + 0.5 * left / half, "autocorrelation"))
        spectrum = fft.fft(lines[:, left : left + band], rows, axis=0)
        power = spectrum.real**2 + spectrum.imag**2
        kept[:, left : left + band] = fft.ifft(power, axis=0)[: down + 1]
    del lines
    out = np.empty((down + 1, 2 * right + 1))
    band = max(1, _BAND // columns)
    for top in range(0, down + 1, band):
        report(Progress(0.8 + 0.2 * top / (down + 1), "autocorrelation"))
        line = fft.irfft(kept[top : top + band], columns, axis=1)
        out[top : top + band, :right] = line[:, columns - right :]
        out[top : top + band, right:] = line[:, : right + 1]
    return out


def _ways(correlation: Floats, turns: Floats) -> Floats:
    """Return the way in pixels to where the autocorrelation first falls to the threshold, NaN where it does not."""
    reach = correlation.shape[0] - 1, correlation.shape[1] // 2
    found = np.full(turns.shape, np.nan)
    down, right = np.sin(turns), np.cos(turns)
    back = np.where(down < 0, -1.0, 1.0)  # upwards is the same turned by 180°
    down, right = back * down, back * right
    open_ = np.arange(turns.size)
    before = np.ones(turns.size)
    limit = math.hypot(*reach)
    for step in range(1, math.ceil(limit / _STEP_PX) + 1):
        way = step * _STEP_PX
        rows, columns = way * down[open_], reach[1] + way * right[open_]
        here = between(correlation, rows, columns)
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
